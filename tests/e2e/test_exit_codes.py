"""Every exit code that a script may depend on, with the words that a person needs."""

import pytest

from assay.cli.demo.programs import ASSAY
from assay.cli.demo.tampering import Overwritten, Replaced
from assay.index.blobs import BlobStore
from assay.index.config import DataFolder
from assay.index.published import TIMESTAMP_NAME
from assay.model.digests import sha256_of
from client.small_distributions import build_wheel
from e2e.house import House
from e2e.installers import PIP, UV, modules

pytestmark = pytest.mark.e2e


def test_0_fine_and_the_childs_own_code(house: House) -> None:
    user = house.user()
    assert user.run(*ASSAY, "run", "--", "true").code == 0
    assert user.run(*ASSAY, "run", "--", "sh", "-c", "exit 7").code == 7
    assert user.run(*ASSAY, "run", "--", "sh", "-c", "kill -KILL $$").code == 128 + 9


@pytest.mark.parametrize(
    "words",
    [
        ("run",),
        ("run", "--", "no-such-program"),
        ("explain", "nothing-here"),
        ("trust", "add", "ftp://nowhere"),
        ("x",),
    ],
)
def test_2_usage(house: House, words: tuple[str, ...]) -> None:
    done = house.user().run(*ASSAY, *words)
    assert done.code == 2
    assert "Traceback" not in done.said


def test_10_verification(house: House) -> None:
    wheel = build_wheel("ten", "1.0")
    house.publish(("ten", "1.0"))
    user = house.user()
    with Overwritten({BlobStore(DataFolder(house.index.data).blobs).path(sha256_of(wheel)): wheel[:-1] + b"?"}):
        done, installed = PIP.install(user, "ten")
    assert (done.code, installed) == (10, [])
    assert "ten-1.0-py3-none-any.whl" in done.said


def test_10_another_fingerprint(house: House) -> None:
    wrong = f"sha256:{'0' * 64}"
    done = house.stranger().run(*ASSAY, "trust", "add", house.index.url, "--fingerprint", wrong)
    assert done.code == 10
    assert wrong in done.said
    assert house.index.fingerprint in done.said


def test_11_freshness(house: House) -> None:
    timestamp = DataFolder(house.index.data).published / TIMESTAMP_NAME
    house.publish(("eleven", "1.0"))
    old = timestamp.read_bytes()
    house.publish(("eleven", "1.1"))
    user = house.user()
    with Replaced({timestamp: old}):
        done, installed = UV.install(user, "eleven")
    assert (done.code, installed) == (11, [])
    assert "older metadata than was already trusted" in done.said
    again, installed = UV.install(user, "eleven", name="again")
    assert (again.code, modules(installed)) == (0, {"eleven"})


def test_12_policy(house: House) -> None:
    done, installed = PIP.install(house.user(), "--index-url", "https://elsewhere.example/simple/", "anything")
    assert (done.code, installed) == (12, [])
    assert "elsewhere.example" in done.said


def test_13_unreachable(house: House) -> None:
    user = house.user()
    (entry,) = (user.folder / "data" / "assay" / "indexes").glob("*/index.json")
    entry.write_text(entry.read_text().replace(house.index.url, "http://127.0.0.1:9/"))
    done, installed = UV.install(user, "demo")
    assert (done.code, installed) == (13, [])
    assert "127.0.0.1:9" in done.said


def test_14_not_trusted_yet(house: House) -> None:
    stranger = house.stranger()
    for words in (
        ("run", "--index", house.index.url, "--", "true"),
        ("explain", "demo"),
        ("verify", "--index", house.index.url, "demo-1.0.tar.gz"),
    ):
        done = stranger.run(*ASSAY, *words)
        assert done.code == 14, done.said
        assert "assay trust add" in done.said


def test_nothing_is_kept_of_an_index_whose_trust_failed(house: House) -> None:
    """``trust add`` during an attack leaves nothing behind, so that it can be repeated."""
    house.publish(("kept", "1.0"))
    timestamp = DataFolder(house.index.data).published / TIMESTAMP_NAME
    stranger = house.stranger()
    add = (*ASSAY, "trust", "add", house.index.url, "--fingerprint", house.index.fingerprint)
    with Overwritten({timestamp: b"{}"}):
        assert stranger.run(*add).code == 10
    assert "no index is trusted" in stranger.run(*ASSAY, "trust", "list").said
    assert stranger.run(*add).code == 0
