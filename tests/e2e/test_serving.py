"""``assay serve`` as its operator sees it: starting, stopping, starting again, keys, TLS, and renewal by itself."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from assay.cli.demo.programs import ASSAY
from assay.index import confine
from assay.index.config import DataFolder
from client.small_distributions import build_wheel
from e2e.certificates import make_certificates
from e2e.house import PROGRAMS, House, running_house
from e2e.installers import PIP, UV, modules

pytestmark = pytest.mark.e2e

PASSPHRASE = "correct horse battery staple"


def processes_of(data: Path) -> list[str]:
    """The command lines of everything that runs on a data folder."""
    listing = subprocess.run(["ps", "-axww", "-o", "command="], capture_output=True, text=True, check=True).stdout
    return [line for line in listing.splitlines() if str(data) in line]


def timestamp(data: Path) -> dict[str, object]:
    signed: dict[str, object] = json.loads((data / "published" / "tuf" / "timestamp.json").read_bytes())["signed"]
    return signed


def test_it_ends_cleanly_and_resumes(folder: Path) -> None:
    with running_house(folder) as first:
        first.publish(("demo", "1.0"))
        user = first.user()
        port, token, fingerprint = urlsplit(first.index.url).port, first.token, first.index.fingerprint
        first.index.process.send_signal(signal.SIGTERM)
        assert first.index.process.wait(20) == 0
    assert processes_of(first.index.data) == []
    assert "Traceback" not in first.index.log.read_text()
    assert not DataFolder(first.index.data).web_marker.exists()
    with running_house(folder, "--port", str(port)) as again:
        assert (again.index.admin_token, again.index.fingerprint) == (None, fingerprint)
        done, installed = UV.install(user, "demo")
        assert (done.code, modules(installed)) == (0, {"demo"}), done.said
        assert again.upload("demo-1.1-py3-none-any.whl", build_wheel("demo", "1.1"), token=token).status == 200


def test_one_data_folder_is_served_once(folder: Path) -> None:
    with running_house(folder) as house:
        done = house.operator("serve", "--port", "0", "--insecure-dev-keys", "--upstream", "off")
    assert (done.code, "served already" in done.said) == (1, True)


@pytest.mark.parametrize("module", ["web", "signer"])
def test_no_process_outlives_its_supervisor(folder: Path, module: str) -> None:
    with running_house(folder) as house:
        child = house.index.child_pid(module)
        house.index.process.kill()
        house.index.process.wait()
        deadline = time.monotonic() + 20
        while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not Path(f"/proc/{child}").exists()


def test_it_ends_by_itself_when_nobody_asks(folder: Path) -> None:
    with running_house(folder, "--idle-exit", "1") as house:
        assert house.index.process.wait(30) == 0
    assert processes_of(house.index.data) == []


# --- keys -----------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(folder: Path) -> Iterator[House]:
    """An index whose keys are encrypted."""
    secret = folder / "passphrase"
    secret.write_text(PASSPHRASE)
    secret.chmod(0o600)
    with running_house(folder, settings={"ASSAY_PASSPHRASE_FILE": str(secret)}) as house:
        yield house


def test_keys_are_encrypted_and_the_passphrase_is_nowhere(guarded: House) -> None:
    keys = list(DataFolder(guarded.index.data).keys.root.rglob("*.pem"))
    assert {path.stem for path in keys} >= {"root", "targets", "timestamp", "snapshot"}
    assert all(b"BEGIN ENCRYPTED PRIVATE KEY" in path.read_bytes() for path in keys)
    assert all(path.stat().st_mode & 0o077 == 0 for path in keys)
    for pid in (guarded.index.process.pid, *map(guarded.index.child_pid, ("web", "signer"))):
        for name in ("cmdline", "environ"):
            assert PASSPHRASE.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
    assert PASSPHRASE not in guarded.index.log.read_text()
    guarded.publish(("demo", "1.0"))


def test_a_wrong_passphrase_is_refused(guarded: House) -> None:
    guarded.publish(("demo", "1.0"))
    guarded.index.process.terminate()
    guarded.index.process.wait()
    wrong = guarded.folder / "wrong"
    wrong.write_text("another one")
    wrong.chmod(0o600)
    words = ("serve", "--data", str(guarded.index.data), "--port", "0", "--upstream", "off")
    person = guarded.stranger(ASSAY_PASSPHRASE_FILE=str(wrong))
    process = subprocess.Popen(
        [*ASSAY, *words], env=person.environ(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        said = ""
        for line in process.stdout or ():
            said += line
            if "assay signer:" in line:
                break
    finally:
        process.terminate()
        process.communicate()
    assert "passphrase" in said


def read_as(uid: int, path: Path) -> str:
    """What somebody else on this machine is told who reads ``path``."""
    done = subprocess.run(["cat", str(path)], user=uid, capture_output=True, text=True, check=False)
    return done.stderr


def test_the_process_that_speaks_http_can_read_no_key(folder: Path) -> None:
    with running_house(folder) as house:
        web = house.index.child_pid("web")
        keys = DataFolder(house.index.data).keys.root
        status = Path(f"/proc/{web}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        uid = int(fields["Uid"].split()[0])
        locked_in = confine.landlock_is_available() and fields["NoNewPrivs"] == "1"
        assert locked_in or uid != os.geteuid()
        if uid != os.geteuid():
            assert "Permission denied" in read_as(uid, next(keys.rglob("timestamp.pem")))
        opened = {str(entry.readlink()) for entry in Path(f"/proc/{web}/fd").iterdir()}
        assert not [path for path in opened if path.startswith(str(keys))]
        assert "could read the key files" not in house.index.log.read_text()


def test_what_the_web_process_gives_up_it_cannot_take_back(folder: Path) -> None:
    with running_house(folder) as house:
        keys = DataFolder(house.index.data).keys.root
        key = next(keys.rglob("timestamp.pem"))
        program = (
            "import sys; from pathlib import Path; from assay.index import confine\n"
            "confine.landlock_is_available() and confine.give_up_folder(Path(sys.argv[1]))\n"
            "print(confine.landlock_is_available())\n"
            "Path(sys.argv[2]).read_bytes()"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, str(keys), str(key)], capture_output=True, text=True, check=False
        )
        assert done.stdout.strip() == "False" or "PermissionError" in done.stderr


# --- renewal --------------------------------------------------------------------------------------------------


def test_online_roles_are_signed_again_before_they_expire(folder: Path) -> None:
    lifetime_s = 12
    with running_house(folder, config=f"[trust]\ntimestamp_hours = {lifetime_s / 3600}\n") as house:
        house.publish(("demo", "1.0"))
        user = house.user()
        deadline = time.monotonic() + lifetime_s + 4
        while time.monotonic() < deadline:
            expires = datetime.fromisoformat(str(timestamp(house.index.data)["expires"]))
            assert expires > datetime.now(UTC)
            time.sleep(0.2)
        done, installed = UV.install(user, "demo")
        assert (done.code, modules(installed)) == (0, {"demo"}), done.said


# --- TLS ------------------------------------------------------------------------------------------------------


def test_tls_with_a_certificate_of_the_companys_own(folder: Path) -> None:
    made = make_certificates(folder)
    authority = str(made.authority)
    trusting = {"SSL_CERT_FILE": authority, "REQUESTS_CA_BUNDLE": authority, "CURL_CA_BUNDLE": authority}
    options = ("--host", "localhost", "--tls-cert", str(made.certificate), "--tls-key", str(made.key))
    with running_house(folder, *options, settings=trusting) as house:
        assert house.index.url.startswith("https://")
        developer = house.developer()
        for tool, version in (("twine", "1.0"), ("uv", "1.1")):
            wheel = developer.folder / f"demo-{version}-py3-none-any.whl"
            wheel.parent.mkdir(exist_ok=True)
            wheel.write_bytes(build_wheel("demo", version))
            words = {
                "twine": (*PROGRAMS.twine, "upload", "--non-interactive", "--disable-progress-bar"),
                "uv": (*PROGRAMS.uv, "publish", "--trusted-publishing=never"),
            }[tool]
            done = developer.run(*words, str(wheel))
            assert done.code == 0, done.said
        for installer in (PIP, UV):
            done, installed = installer.install(house.user(), "demo")
            assert (done.code, modules(installed)) == (0, {"demo"}), done.said
        stranger = house.stranger(SSL_CERT_FILE=str(made.other_authority))
        refused = stranger.run(*ASSAY, "trust", "add", house.index.url, "--fingerprint", house.index.fingerprint)
        assert (refused.code, "certificate" in refused.said.lower()) == (13, True)
