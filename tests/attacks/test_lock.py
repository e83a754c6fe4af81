"""B21: a pull request edits a hash in a lock file, and the file that has the hash lies in wait somewhere."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.cli.demo.programs import ASSAY, Done, Person
from attacks.conftest import Cell
from client.small_distributions import build_wheel
from e2e.house import House, running_house

pytestmark = pytest.mark.e2e

WHEEL = "demo-1.0-py3-none-any.whl"
GOOD = build_wheel("demo", "1.0")
EVIL = build_wheel("demo", "1.0", files={"evil.py": b"1\n"})
GOOD_HASH, EVIL_HASH = hashlib.sha256(GOOD).hexdigest(), hashlib.sha256(EVIL).hexdigest()
TABLE = 'name = "demo"\nversion = "1.0"\n'
PINNED = {
    "requirements.txt": f"demo==1.0 \\\n    --hash=sha256:{GOOD_HASH}\n",
    "pylock.toml": f'lock-version = "1.0"\n[[packages]]\n{TABLE}'
    f'wheels = [{{name = "{WHEEL}", hashes = {{sha256 = "{GOOD_HASH}"}}}}]\n',
    "uv.lock": f'[[package]]\n{TABLE}source = {{ registry = "https://index.example/simple" }}\n'
    f'wheels = [\n  {{ url = "https://files.example/{WHEEL}", hash = "sha256:{GOOD_HASH}" }},\n]\n',
    "poetry.lock": f'[[package]]\n{TABLE}files = [\n  {{file = "{WHEEL}", hash = "sha256:{GOOD_HASH}"}},\n]\n',
    "pdm.lock": f'[[package]]\n{TABLE}files = [\n  {{file = "{WHEEL}", hash = "sha256:{GOOD_HASH}"}},\n]\n',
    "Pipfile.lock": json.dumps(
        {"default": {"demo": {"hashes": [f"sha256:{GOOD_HASH}"], "version": "==1.0"}}}, indent=1
    ),
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        assert running.upload(WHEEL, GOOD).status == 200
        yield running


@pytest.fixture(scope="module")
def user(house: House) -> Person:
    return house.user()


def write(user: Person, name: str, text: str) -> Path:
    path = user.folder / name
    path.write_text(text)
    return path


def pip_installs(folder: Path, requirements: Path) -> str:
    """What pip makes of the edited lock file where the attacker's file is in its reach."""
    wheels = folder / "wheels"
    wheels.mkdir()
    (wheels / WHEEL).write_bytes(EVIL)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(wheels)]
    command += ["--target", str(folder / "target"), "--require-hashes", "-r", str(requirements)]
    done = subprocess.run(command, capture_output=True, check=False)
    return "replaced" if done.returncode == 0 and (folder / "target" / "evil.py").exists() else "refused"


def verify(user: Person, *words: str) -> Done:
    return user.run(*ASSAY, "lock", "verify", *words)


def test_B21_an_edited_hash_is_named_with_its_line(user: Person, cell: Cell) -> None:
    paths = {name: str(write(user, name, text)) for name, text in PINNED.items()}
    sound = verify(user, *paths.values())
    assert sound.code == 0, sound.said
    edited = {name: text.replace(GOOD_HASH, EVIL_HASH) for name, text in PINNED.items()}
    for name, text in edited.items():
        write(user, name, text)
    done = verify(user, *paths.values())
    assert done.code == 10
    for name, text in edited.items():
        line = next(number for number, row in enumerate(text.splitlines(), 1) if EVIL_HASH in row)
        assert f"{paths[name]}:{line}: demo 1.0" in done.said
    assert done.said.count(f"sha256:{EVIL_HASH}") == len(edited)
    assert done.said.count(f"sha256:{GOOD_HASH}") == len(edited)
    cell("B21", "signed", "refused")


def test_B21_pip_believes_the_lock_file(tmp_path: Path, cell: Cell) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(PINNED["requirements.txt"].replace(GOOD_HASH, EVIL_HASH))
    outcome = pip_installs(tmp_path, path)
    cell("B21", "pip --require-hashes", outcome)
    assert outcome == "replaced"


def test_B21_what_cannot_be_compared_is_not_passed_over(user: Person) -> None:
    lines = {
        "demo==1.0": "lock-hash-missing",
        f"demo==1.0 --hash=md5:{'0' * 32}": "lock-hash-kind",
        f"demo==9.0 --hash=sha256:{GOOD_HASH}": "lock-not-vouched-for",
        f"nobody==1.0 --hash=sha256:{GOOD_HASH}": "lock-not-vouched-for",
        "demo @ https://elsewhere.example/demo.whl": "lock-elsewhere",
    }
    path = write(user, "requirements.txt", "\n".join(lines))
    done = verify(user, "--json", str(path))
    assert done.code == 10
    findings = json.loads(done.said.splitlines()[0])["files"][0]["findings"]
    assert [(one["line"], one["rule"]) for one in findings] == list(enumerate(lines.values(), 1))


def test_B21_a_source_elsewhere_passes_only_where_it_is_allowed(user: Person) -> None:
    path = write(user, "requirements.txt", "demo @ https://elsewhere.example/demo.whl\n")
    assert verify(user, str(path)).code == 12
    assert verify(user, "--allow-elsewhere", str(path)).code == 0


def test_B21_an_attestation_identity_that_nobody_has_is_named(user: Person, cell: Cell) -> None:
    evil = 'attestation-identities = [{ kind = "GitHub", repository = "evil/demo", workflow = "x.yml" }]\n'
    text = PINNED["pylock.toml"].replace(TABLE, TABLE + evil)
    path = write(user, "pylock.toml", text)
    done = verify(user, str(path))
    assert done.code == 10, done.said
    assert "lock-identity" in done.said
    assert f"{path}:3: demo 1.0" in done.said
    cell("B21", "signed", "refused")


def test_B21_a_repository_passes_only_where_policy_allows_it_and_at_a_whole_commit(user: Person) -> None:
    commit = "a" * 40
    path = write(user, "requirements.txt", f"demo @ git+https://git.example/team/demo@{commit}\n")
    uv = write(
        user, "uv.lock", f'[[package]]\n{TABLE}source = {{ git = "https://git.example/team/demo?rev=main#{commit}" }}\n'
    )
    assert verify(user, str(path), str(uv)).code == 12
    policy = str(write(user, "assay-policy.toml", '[[repositories]]\nurl = "https://git.example/team/*"\n'))
    assert verify(user, str(path), str(uv)).code == 12, "the pull request's own policy counts nothing"
    done = verify(user, "--policy", policy, str(path), str(uv))
    assert done.code == 0, done.said
    write(user, "requirements.txt", "demo @ git+https://git.example/team/demo@main\n")
    assert verify(user, "--policy", policy, str(path)).code == 12
