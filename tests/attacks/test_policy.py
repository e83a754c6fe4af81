"""B1 and B21: another index has a private project's name; a pull request edits policy, record and lock file at once."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.cli.demo.programs import ASSAY, Environment, Person
from attacks.conftest import Cell
from client.small_distributions import build_wheel
from e2e.conftest import open_folder
from e2e.house import PROGRAMS, House, running_house
from e2e.installers import modules

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

EVIL = build_wheel("inhouse", "9.0", files={"evil.py": b"1\n"})
GOOD = build_wheel("inhouse", "1.0")


@pytest.fixture(scope="module")
def ours() -> Iterator[House]:
    with open_folder() as folder, running_house(folder) as running:
        assert running.upload("inhouse-1.0-py3-none-any.whl", GOOD).status == 200
        yield running


@pytest.fixture(scope="module")
def public() -> Iterator[House]:
    """An index that everybody trusts for other things, on which anybody registers anything."""
    with open_folder() as folder, running_house(folder) as running:
        assert running.upload("inhouse-9.0-py3-none-any.whl", EVIL).status == 200
        running.publish(("other", "1.0"))
        yield running


def install(user: Person, index: House, *requirements: str, name: str = "venv") -> tuple[int, str, set[str]]:
    environment = Environment.make(PROGRAMS, user, name)
    command = [*PROGRAMS.uv, "pip", "install", "--python", environment.python, *requirements]
    done = user.run(*ASSAY, "run", f"--index={index.index.url}", "--", *command)
    return done.code, done.said, modules(environment.installed())


def test_B1_a_routed_name_is_asked_of_its_own_index_alone(ours: House, public: House, cell: Cell) -> None:
    user = public.user()
    (user.folder / "assay-policy.toml").write_text(
        f'[[rules]]\nprojects = ["inhouse"]\nindex = "{ours.index.url}"\n', encoding="utf-8"
    )
    code, said, installed = install(user, public, "inhouse")
    assert (code, installed) == (12, set()), said
    assert "policy-index" in said
    trust = user.run(*ASSAY, "trust", "add", ours.index.url, "--fingerprint", ours.index.fingerprint)
    assert trust.code == 0
    code, said, installed = install(user, public, "inhouse", "other", name="routed")
    assert (code, installed) == (0, {"inhouse", "other"}), said
    cell("B1", "signed", "refused")


def test_B1_pip_takes_the_highest_version_of_any_index(ours: House, public: House, tmp_path: Path, cell: Cell) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-cache-dir", "--isolated"]
    both = ["--index-url", ours.index.simple_url, "--extra-index-url", public.index.simple_url]
    done = subprocess.run([*pip, *both, "--target", str(tmp_path / "one"), "inhouse"], check=False)
    assert done.returncode == 0
    cell("B1", "pip", "installed" if (tmp_path / "one" / "evil.py").exists() else "refused")
    pinned = tmp_path / "requirements.txt"
    pinned.write_text(f"inhouse==1.0 --hash=sha256:{hashlib.sha256(GOOD).hexdigest()}\n")
    target = ["--require-hashes", "--target", str(tmp_path / "two"), "-r", str(pinned)]
    assert subprocess.run([*pip, *both, *target], check=False).returncode == 0
    cell("B1", "pip --require-hashes", "installed" if (tmp_path / "two" / "evil.py").exists() else "refused")


def test_B21_a_pull_request_that_edits_the_policy_lifts_nobody_elses(ours: House, cell: Cell) -> None:
    user = ours.user()
    own = user.folder / "config" / "assay" / "policy.toml"
    own.parent.mkdir(parents=True)
    own.write_text('allow_hosts = []\n[[rules]]\nprojects = ["inhouse"]\nrings = "sealed"\n')
    (user.folder / "assay-policy.toml").write_text(
        'mode = "warn"\nallow_hosts = ["evil.example"]\nfirst_seen = "warn"\n'
        '[[exemptions]]\nprojects = ["*"]\nrules = ["rings"]\nuntil = 2026-12-31\nreason = "trust me"\n'
    )
    code, said, installed = install(user, ours, "inhouse")
    assert (code, installed) == (12, set()), said
    assert "user's policy" in said
    cell("B21", "signed", "refused")


def test_B21_an_edited_record_is_named_to_whoever_reviews(ours: House) -> None:
    user = ours.user()
    base = user.folder / "base"
    base.mkdir()
    key = "A" * 40
    entry = f'{{"certificates": ["{key}"], "publishers": [], "lines": {{}}}}'
    record = f'{{"assay-seen": 1, "projects": {{"inhouse": {entry}}}}}'
    (base / "assay-seen.json").write_text(record)
    (user.folder / "assay-seen.json").write_text(record.replace("A" * 40, "E" * 40))
    done = user.run(*ASSAY, "policy", "check", "--base", "base")
    assert done.code == 12
    assert "who made inhouse was rewritten" in done.said
