"""The old flow with the old tools: gpg signs, an unmodified twine uploads, and now somebody checks."""

import json
from pathlib import Path

import pytest

from assay.cli.demo.programs import ASSAY
from client.small_distributions import build_wheel
from e2e.house import PROGRAMS, House, ask
from provenance.openpgp_makers import Gpg

pytestmark = pytest.mark.e2e


@pytest.fixture
def fingerprint(gpg: Gpg) -> str:
    """A key made now: its certificate is in gpg's home as ``olga``."""
    try:
        return gpg.fingerprints("olga")[0]
    except RuntimeError:
        gpg.run("--quick-gen-key", "olga <olga@example.org>", "ed25519", "sign", "never")
        return gpg.fingerprints("olga")[0]


def signed_wheel(folder: Path, gpg: Gpg, project: str, version: str) -> tuple[Path, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{project}-{version}-py3-none-any.whl"
    wheel.write_bytes(build_wheel(project, version))
    gpg.run("--armor", "-u", "olga@example.org", "--detach-sign", str(wheel))
    return wheel, folder / f"{wheel.name}.asc"


def register(house: House, gpg: Gpg, project: str) -> None:
    certificate = house.folder / f"{project}.pgp"
    certificate.write_bytes(gpg.export("olga"))
    assert house.operator("project", "create", project, "--owner", "admin").code == 0
    done = house.operator("certificate", "add", project, str(certificate))
    assert done.code == 0, done.said
    assert "published" in done.said


def test_gpg_and_twine_and_pip_as_they_are(house: House, gpg: Gpg, fingerprint: str) -> None:
    register(house, gpg, "olden")
    developer, user = house.developer(), house.user()
    wheel, signature = signed_wheel(house.folder / "olden", gpg, "olden", "1.0")

    alone = developer.run(*PROGRAMS.twine, "upload", "--non-interactive", str(wheel))
    assert alone.code != 0
    assert "must be signed" in alone.said

    done = developer.run(*PROGRAMS.twine, "upload", "--non-interactive", str(wheel), str(signature))
    assert done.code == 0, done.said
    page = house.page("olden")
    assert page is not None
    assert page["files"][0]["gpg-sig"] is True
    served = ask(f"{house.index.url}packages/olden/1.0/{wheel.name}.asc")
    assert served.body == signature.read_bytes()

    installed = user.run(*ASSAY, "run", "--", *PROGRAMS.pip, "install", "--target", "there", "olden")
    assert installed.code == 0, installed.said
    explained = user.run(*ASSAY, "explain", "olden")
    assert fingerprint in explained.said
    assert json.loads(user.run(*ASSAY, "explain", "--json", "olden").said)["files"]

    revocation = gpg.home / "openpgp-revocs.d" / f"{fingerprint}.rev"
    revoked = house.operator("certificate", "revoke", "olden", fingerprint, str(revocation))
    assert revoked.code == 0, revoked.said
    for person, folder in ((user, "again"), (house.user(), "new")):
        late = person.run(*ASSAY, "run", "--", *PROGRAMS.pip, "install", "--no-cache-dir", "--target", folder, "olden")
        assert late.code == 10, late.said
        assert "revoked" in late.said
        assert not (person.folder / folder / "olden.py").exists()
    listed = house.operator("certificate", "list", "olden")
    assert "revoked" in listed.said


def test_uv_installs_what_is_signed_and_shows_what_is_refused(house: House, gpg: Gpg, fingerprint: str) -> None:
    register(house, gpg, "newer")
    wheel, signature = signed_wheel(house.folder / "newer", gpg, "newer", "1.0")
    done = house.developer().run(*PROGRAMS.twine, "upload", "--non-interactive", str(wheel), str(signature))
    assert done.code == 0, done.said
    blob = next(
        path
        for path in (house.index.data / "blobs").rglob("*")
        if path.is_file() and path.read_bytes() == signature.read_bytes()
    )
    install = (*ASSAY, "run", "--", *PROGRAMS.uv, "pip", "install", "--target")
    assert house.user().run(*install, "there", "newer").code == 0
    blob.unlink()
    robbed = house.user().run(*install, "there", "newer")
    assert robbed.code in (10, 13), robbed.said
    assert "newer" in robbed.said


def test_a_signature_at_hand_is_verified_without_any_index(gpg: Gpg, fingerprint: str, tmp_path: Path) -> None:
    from assay.cli.demo.programs import Person

    person = Person(tmp_path / "person", tmp_path)
    wheel, signature = signed_wheel(tmp_path / "hand", gpg, "hand", "1.0")
    certificate = tmp_path / "olga.pgp"
    certificate.write_bytes(gpg.export("olga"))
    words = (*ASSAY, "verify", "--asc", str(signature), "--certificate", str(certificate), str(wheel))
    good = person.run(*words)
    assert good.code == 0, good.said
    assert fingerprint in good.said
    assert "olga@example.org" in good.said
    wheel.write_bytes(wheel.read_bytes() + b"\n")
    bad = person.run(*words)
    assert bad.code == 10
    assert "openpgp-bad-signature" in bad.said
