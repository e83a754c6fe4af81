"""Claims as developers meet them: the real commands against a running index, with twine and uv unchanged."""

import time
from pathlib import Path

import pytest

from assay.cli.demo.programs import ASSAY, Done, Person
from client.small_distributions import build_wheel
from e2e.house import PROGRAMS, House

pytestmark = pytest.mark.e2e

PUBLISHED_S = 20


def developer(house: House) -> Person:
    """Somebody who trusts the index, has a token, and a passphrase for keys of their own."""
    secret = house.folder / f"passphrase-{house.people}"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)
    return house.user(ASSAY_TOKEN=house.token, ASSAY_PASSPHRASE_FILE=str(secret))


def assay(person: Person, *words: str) -> Done:
    done = person.run(*ASSAY, *words)
    assert done.code == 0, done.said
    return done


def wheel(person: Person, project: str, version: str) -> str:
    path = person.folder / "dist" / f"{project}-{version}-py3-none-any.whl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(build_wheel(project, version))
    return str(path)


def installs(house: House, project: str, version: str) -> None:
    user = house.user()
    done = user.run(
        *ASSAY, "run", "--", *PROGRAMS.uv, "pip", "install", "--target", "here", f"{project}=={version}"
    )  # fmt: skip
    assert done.code == 0, done.said
    assert list((user.folder / "here").glob(f"{project}-{version}.dist-info"))


def explained_as(person: Person, project: str, words: str) -> None:
    """Wait until ``assay explain`` says ``words``: offline roles are published within seconds."""
    deadline = time.monotonic() + PUBLISHED_S
    while words not in (said := assay(person, "explain", project).said):
        assert time.monotonic() < deadline, said
        time.sleep(0.3)


@pytest.mark.timeout(600)
def test_claim_publish_settle_and_revoke(house: House) -> None:
    house.publish(("owned", "1.0"))
    ana = developer(house)
    said = assay(ana, "claim", "init", "owned", "--key", "new", "--yes").said
    assert "owned-1.0-py3-none-any.whl" in said
    installs(house, "owned", "1.0")

    plain = house.upload("owned-2.0-py3-none-any.whl", build_wheel("owned", "2.0"))
    assert (plain.status, b"assay publish" in plain.body) == (403, True)

    assert "published" in assay(ana, "publish", wheel(ana, "owned", "2.0")).said
    installs(house, "owned", "2.0")
    for version in ("1.0", "2.0"):
        assert f"logged     packages/owned/{version}/" in assay(ana, "log", "verify", f"owned=={version}").said
    explained_as(ana, "owned", "have not settled")

    data, targets = str(house.index.data), str(house.index.data / "keys" / "offline" / "targets.pem")
    holder = house.stranger()

    def ceremony(name: str, *words: str) -> None:
        assay(holder, "claim", "plan", name, "--data", data, *words)
        assert "owned" in assay(holder, "claim", "sign", name, "--key", targets).said
        assay(holder, "claim", "publish", name, "--data", data)

    ceremony("settle")
    explained_as(ana, "owned", "only its developers' keys sign for it")
    assay(ana, "publish", wheel(ana, "owned", "3.0"))
    installs(house, "owned", "3.0")

    ceremony("revoke", "--revoke", "owned")
    explained_as(ana, "owned", "whoever holds the index's online keys could replace it")
    assert house.upload("owned-4.0-py3-none-any.whl", build_wheel("owned", "4.0")).status == 200


def test_two_maintainers_sign_every_release(house: House) -> None:
    ana, ben = developer(house), developer(house)
    key = ben.folder / "ben.pem"
    assay(ben, "key", "create", f"keyfile:{key}")
    public = ana.folder / "ben.json"
    public.write_text(assay(ben, "key", "show", f"keyfile:{key}", "--json").said)
    claim = house.folder / "claim.json"
    both = ("--add", str(public), "--threshold", "2", "--yes", "--out", str(claim))
    assay(ana, "claim", "init", "shared", "--key", "new", *both)
    early = ana.run(*ASSAY, "claim", "send", str(claim))
    assert early.code != 0
    assert "signed by enough" in early.said
    assay(ben, "claim", "cosign", str(claim), "--key", str(key))
    assay(ana, "claim", "send", str(claim))

    files = [wheel(ana, "shared", version) for version in ("1.0", "2.0")]
    alone = ana.run(*ASSAY, "publish", *files)
    assert (alone.code, "one signature is not enough" in alone.said) == (2, True)
    release = house.folder / "release.json"
    assay(ana, "publish", *files, "--out", str(release))
    assay(ben, "claim", "cosign", str(release), "--key", str(key))
    assay(ana, "publish", *files, "--signed", str(release))
    installs(house, "shared", "2.0")
    assert Path(release).exists()


def test_who_did_not_claim_cannot_publish_and_hears_why(house: House) -> None:
    house.publish(("unowned", "1.0"))
    ana = developer(house)
    done = ana.run(*ASSAY, "publish", wheel(ana, "unowned", "2.0"))
    assert (done.code, "nobody claimed this project" in done.said) == (2, True)
    assay(ana, "claim", "init", "unowned", "--key", "new", "--yes")
    stranger = developer(house)
    done = stranger.run(*ASSAY, "publish", wheel(stranger, "unowned", "2.0"), "--key", str(_key(stranger)))
    assert done.code != 0
    assert "does not sign for the project" in done.said


def _key(person: Person) -> Path:
    path = person.folder / "own.pem"
    assay(person, "key", "create", f"keyfile:{path}")
    return path
