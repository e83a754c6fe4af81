"""Installing through ``assay run``, with every installer: what was uploaded, what is pulled through, what is built."""

import hashlib
import json
from pathlib import Path

import pytest

from assay.cli.demo.outcomes import ng_updater
from assay.cli.demo.programs import ASSAY
from assay.cli.demo.tampering import Overwritten
from assay.index.blobs import BlobStore
from assay.index.config import DataFolder
from assay.model.digests import sha256_of
from client.small_distributions import backend_wheel, build_sdist, build_wheel
from e2e.house import House
from e2e.installers import UV, Installer, modules
from e2e.upstream import Upstream

pytestmark = pytest.mark.e2e

PULLED = "pulled-1.0-py3-none-any.whl"


@pytest.fixture(scope="module", autouse=True)
def _stocked(house: House, upstream: Upstream) -> None:
    """own (uploaded) needs pulled (upstream); fromsource (upstream, an sdist) needs backend to be built."""
    upstream.add("pulled", PULLED, build_wheel("pulled", "1.0"))
    sdist = build_sdist("fromsource", "1.0", build_requires=["backend"], backend="backend_backend")
    upstream.add("fromsource", "fromsource-1.0.tar.gz", sdist)
    built = build_wheel("fromsource", "1.0")
    backend = backend_wheel("backend", built, "fromsource-1.0-py3-none-any.whl")
    upstream.add("backend", "backend-1.0-py3-none-any.whl", backend)
    wheel = build_wheel("own", "1.0", requires=["pulled"])
    assert house.upload("own-1.0-py3-none-any.whl", wheel).status == 200


def test_uploaded_and_pulled_and_built_in_isolation(house: House, installer: Installer) -> None:
    done, installed = installer.install(house.user(), "own", "fromsource")
    assert done.code == 0, done.said
    assert modules(installed) == {"own", "pulled", "fromsource"}


def test_a_damaged_blob_is_refused_by_every_installer(house: House, installer: Installer) -> None:
    name = f"damaged{installer.name.replace('-', '').replace('.', '')}"
    wheel = build_wheel(name, "1.0")
    assert house.upload(f"{name}-1.0-py3-none-any.whl", wheel).status == 200
    blob = BlobStore(DataFolder(house.index.data).blobs).path(sha256_of(wheel))
    damaged = wheel.replace(b"VERSION = '1.0'", b"VERSION = 'evil'"[: len(b"VERSION = '1.0'")])
    user = house.user()
    with Overwritten({blob: damaged}):
        done, installed = installer.install(user, name)
    assert (done.code, installed) == (10, [])
    for words in (f"{name}-1.0-py3-none-any.whl", sha256_of(wheel), sha256_of(damaged), "looks like an attack"):
        assert words in done.said


def test_a_damaged_build_dependency_never_runs(house: House, upstream: Upstream) -> None:
    wheel = upstream.files["backend"]["backend-1.0-py3-none-any.whl"]
    blob = BlobStore(DataFolder(house.index.data).blobs).path(sha256_of(wheel))
    UV.install(house.user(), "fromsource")
    with Overwritten({blob: wheel.replace(b"base64", b"base46")}):
        done, installed = UV.install(house.user(), "fromsource")
    assert (done.code, installed) == (10, [])


def test_explain_names_the_uploader_and_the_first_sight(house: House) -> None:
    user = house.user()
    own = user.run(*ASSAY, "explain", "own==1.0")
    assert own.code == 0, own.said
    assert "by admin" in own.said
    assert "granted by admin" in own.said
    pulled = user.run(*ASSAY, "explain", "pulled")
    assert "first seen here" in pulled.said
    facts = json.loads(user.run(*ASSAY, "explain", "own", "--json").said)["files"]
    assert [row["entry"]["filename"] for row in facts] == ["own-1.0-py3-none-any.whl"]


def test_verify_knows_a_genuine_file_from_a_forged_one(house: House) -> None:
    user = house.user()
    good, bad = user.folder / "good", user.folder / "bad"
    for place, data in ((good, build_wheel("own", "1.0", requires=["pulled"])), (bad, build_wheel("own", "1.0"))):
        place.mkdir()
        (place / "own-1.0-py3-none-any.whl").write_bytes(data)
    assert user.run(*ASSAY, "verify", str(good / "own-1.0-py3-none-any.whl")).code == 0
    forged = user.run(*ASSAY, "verify", str(bad / "own-1.0-py3-none-any.whl"))
    assert (forged.code, "target-hash" in forged.said) == (10, True)


def test_a_stock_tuf_client_gets_the_page_and_the_wheel(house: House, tmp_path: Path) -> None:
    wheel = build_wheel("own", "1.0", requires=["pulled"])
    targets = tmp_path / "targets"
    targets.mkdir()
    updater = ng_updater(house.index, tmp_path / "metadata", targets)
    updater.refresh()
    page = updater.get_targetinfo("simple/own/index.json")
    file = updater.get_targetinfo("packages/own/1.0/own-1.0-py3-none-any.whl")
    assert page is not None
    assert file is not None
    listed = json.loads(Path(updater.download_target(page)).read_bytes())["files"]
    assert [row["hashes"]["sha256"] for row in listed] == [hashlib.sha256(wheel).hexdigest()]
    assert Path(updater.download_target(file)).read_bytes() == wheel
    assert updater.get_targetinfo("packages/own/1.0/other-1.0-py3-none-any.whl") is None


def test_the_conformance_client_refreshes_and_downloads(house: House, tmp_path: Path) -> None:
    user = house.stranger()
    root = house.index.data / "published" / "tuf" / "1.root.json"
    client = (*ASSAY, "tuf-client", "--metadata-dir", str(tmp_path / "metadata"))
    url = ("--metadata-url", f"{house.index.url}tuf/")
    assert user.run(*client, "init", str(root)).code == 0
    assert user.run(*client, *url, "refresh").code == 0
    target = "packages/own/1.0/own-1.0-py3-none-any.whl"
    places = ("--target-name", target, "--target-dir", str(tmp_path / "t"), "--target-base-url", house.index.url)
    done = user.run(*client, *url, *places, "download")
    assert done.code == 0, done.said
    (downloaded,) = (tmp_path / "t").iterdir()
    assert downloaded.read_bytes() == build_wheel("own", "1.0", requires=["pulled"])
