"""``python bench/provenance.py``: what checking who signed costs, alone and in an install of 30 packages.

The packages are small, so that the checks show: signed with OpenPGP, attested (PEP 740, an own Sigstore root), bare.
"""

import base64
import hashlib
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pysequoia
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import CryptoSigner

from assay.index.config import DataFolder
from assay.index.ledger import Ledger, accounts
from assay.index.ledger.publications import outbox_state
from assay.index.provenance.approvals import Approvals
from assay.index.provenance.changes import AddCertificate, AddPublisher, SignerChange
from assay.index.provenance.events import propose_change
from assay.index.provenance.registry import publisher_members
from assay.model.digests import sha256_of
from assay.model.names import parse_project_name
from assay.model.permissions import ProjectRole
from assay.provenance.attestation_format import parse_attestation
from assay.provenance.attestations import verify_attestation
from assay.provenance.identities import SignerIdentity
from assay.provenance.openpgp import parse_certificate, verify_signature
from assay.provenance.own_root.attest import Issuer, issue_attestation, render_statement, render_trusted_root
from assay.provenance.own_root.certificates import make_authority
from assay.provenance.own_root.log import EMPTY_LOG, LogState
from assay.provenance.publishers import OidcPublisher, render_publisher
from assay.provenance.sigstore_trust import SigstoreTrust, bundled_trust, load_trust
from servers import Assay, assay, clean_environment

PACKAGES = 30
ROUNDS = 5
LOGIN = "https://login.example.org"
UV = str(Path(sys.executable).with_name("uv"))


@dataclass
class Company:
    """A key, and a Sigstore root of its own."""

    key: pysequoia.Tsk
    issuer: Issuer
    since: datetime
    log: LogState = EMPTY_LOG

    @classmethod
    def make(cls) -> "Company":
        """A new one."""
        since = datetime.now(UTC) - timedelta(days=1)
        root, issuing, certificate_log, log = (CryptoSigner.generate_ecdsa() for _ in range(4))
        serials = (x509.random_serial_number(), x509.random_serial_number())
        authority = make_authority(
            "Bench", root, issuing.public_key, now=since, lifetime=timedelta(days=30), serials=serials
        )
        key = pysequoia.Tsk.generate("bench <bench@example.org>")
        return cls(key, Issuer(authority, issuing, certificate_log, log, "bench.example.org"), since)

    @property
    def certificate(self) -> bytes:
        """The public part of the key."""
        return str(self.key.extract_certificate()).encode()

    @property
    def root(self) -> bytes:
        """The trusted root."""
        return render_trusted_root(self.issuer, url="https://bench.example.org", since=self.since)

    def sign(self, data: bytes) -> bytes:
        """A detached, armored signature."""
        signature: bytes = pysequoia.sign(self.key.signer(), data, mode=pysequoia.SignatureMode.DETACHED)
        return signature

    def attest(self, filename: str, data: bytes) -> bytes:
        """A publish attestation."""
        key, identity = ec.generate_private_key(ec.SECP256R1()), SignerIdentity(LOGIN, ("bench@example.org",))
        attestation, self.log = issue_attestation(
            self.issuer,
            self.log,
            render_statement(filename, sha256_of(data)),
            identity,
            key,
            now=datetime.now(UTC),
            serial=x509.random_serial_number(),
        )
        return attestation


def main() -> int:
    """Measure and print."""
    print(f"machine: {os.cpu_count()} cores; python {sys.version.split()[0]}; medians\n")
    company = Company.make()
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as name:
        _print_verifications(company, Path(name))
        _print_installs(company, Path(name))
    return 0


# --- one verification -----------------------------------------------------------------------------------------


def _print_verifications(company: Company, folder: Path) -> None:
    print("milliseconds of one verification, in a process that has the libraries loaded")
    certificate = parse_certificate(company.certificate)
    for label, size in (("OpenPGP, 50 KB", 50_000), ("OpenPGP, 100 MB", 100_000_000)):
        path = folder / "file"
        path.write_bytes(os.urandom(size))
        signature, now = company.sign(path.read_bytes()), datetime.now(UTC)

        def verify_file(path: Path = path, signature: bytes = signature, now: datetime = now) -> object:
            day = timedelta(days=1)
            return verify_signature(signature, path, [certificate], uploaded_at=now, now=now, tolerance=day)

        print(f"  {label:34}{_median_ms(verify_file):10.2f}")
    data = b"a file"
    attestation = parse_attestation(company.attest("bench-1.0.tar.gz", data))
    trust, now = SigstoreTrust("bench", company.root), datetime.now(UTC)
    publisher = OidcPublisher(LOGIN, "bench@example.org")

    def verify() -> object:
        return verify_attestation(
            attestation, filename="bench-1.0.tar.gz", sha256=sha256_of(data), publisher=publisher, trust=trust, now=now
        )

    verify()
    print(f"  {'attestation':34}{_median_ms(verify):10.2f}")
    loading = "from assay.provenance.sigstore_trust import bundled_trust, load_trust; load_trust(bundled_trust())"
    seconds = [_timed([sys.executable, "-c", loading], dict(os.environ)) for _ in range(ROUNDS)]
    bare = [_timed([sys.executable, "-c", "pass"], dict(os.environ)) for _ in range(ROUNDS)]
    load_trust(bundled_trust())
    cost = 1000 * (statistics.median(seconds) - statistics.median(bare))
    print(f"  {'loading sigstore and its root, once':34}{cost:10.0f}\n")


def _median_ms(call: Callable[[], object], times: int = 30) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


# --- an install -----------------------------------------------------------------------------------------------


def _print_installs(company: Company, folder: Path) -> None:
    with assay(folder, "off") as index:
        environ = clean_environment(folder)
        program = [sys.executable, "-m", "assay"]
        trust = [*program, "trust", "add", index.url, "--fingerprint", index.fingerprint]
        subprocess.run(trust, check=True, env=environ, capture_output=True)
        kinds = {"bare": "nothing beside the files", "signed": "OpenPGP signatures", "attested": "attestations"}
        for kind in kinds:
            _publish(index, company, kind)
        rounds = [{kind: _install(folder, environ, kind) for kind in kinds} for _ in range(ROUNDS)]
        best = {kind: min(each[kind][0] for each in rounds) for kind in kinds}
        cpu = {kind: statistics.median(each[kind][1] for each in rounds) for kind in kinds}
        print(
            f"`assay run -- uv pip install` of {PACKAGES} wheels, empty caches: seconds of the least disturbed round,"
        )
        print(
            "processor seconds (median), and what of these the checks add per wheel in ms (loading sigstore included)"
        )
        for kind, label in kinds.items():
            added = 1000 * (cpu[kind] - cpu["bare"]) / PACKAGES
            print(f"  {label:34}{best[kind]:10.2f}{cpu[kind]:10.2f}{added:10.1f}")


def _install(folder: Path, environ: dict[str, str], kind: str) -> tuple[float, float]:
    """Seconds by the clock and of the processors."""
    target = folder / "target"
    shutil.rmtree(target, ignore_errors=True)
    for kept in ("files", "installers", "runs"):
        shutil.rmtree(folder / "cache" / "assay" / kept, ignore_errors=True)
    names = [f"{kind}{number:02}" for number in range(PACKAGES)]
    command = [sys.executable, "-m", "assay", "run", "--", UV, "pip", "install", "-q", "--target", str(target), *names]
    before = os.times()
    seconds = _timed(command, environ)
    after = os.times()
    return seconds, after.children_user + after.children_system - before.children_user - before.children_system


def _publish(index: Assay, company: Company, kind: str) -> None:
    names = [f"{kind}{number:02}" for number in range(PACKAGES)]
    _register(index, company, kind, names)
    for name in names:
        filename, data = f"{name}-1.0-py3-none-any.whl", _wheel(name)
        fields = {"attestations": f"[{company.attest(filename, data).decode()}]"} if kind == "attested" else {}
        _upload(index, name, filename, data, fields, company.sign(data) if kind == "signed" else None)


def _register(index: Assay, company: Company, kind: str, names: list[str]) -> None:
    """What the operator's commands do, in one transaction."""
    ledger, now = Ledger.open(DataFolder(index.data).ledger_file), datetime.now(UTC)
    members = publisher_members(dict(render_publisher(OidcPublisher(LOGIN, "bench@example.org"))))
    seqs = []
    with ledger.write() as connection:
        for project in map(parse_project_name, names):
            accounts.create_project(connection, project, "admin", now)
            accounts.grant_role(connection, project, "admin", ProjectRole.OWNER, "admin", now)
            change: SignerChange = AddCertificate(project, company.certificate, optional=False)
            if kind == "attested":
                change = AddPublisher(project, members, company.root, optional=False)
            if kind != "bare":
                Approvals(DataFolder(index.data).inbox).give(change)
                seqs.append(propose_change(connection, change, "bench", now))
    while True:
        with ledger.read() as connection:
            if all(outbox_state(connection, seq)[0] == "published" for seq in seqs):
                break
        time.sleep(0.05)
    ledger.close()


def _upload(
    index: Assay, name: str, filename: str, data: bytes, extra: Mapping[str, str], signature: bytes | None
) -> None:
    boundary = uuid.uuid4().hex
    fields = {
        ":action": "file_upload",
        "protocol_version": "1",
        "metadata_version": "2.1",
        "name": name,
        "version": "1.0",
        "filetype": "bdist_wheel",
        "pyversion": "py3",
        "sha256_digest": sha256_of(data),
        **extra,
    }
    parts = [f'form-data; name="{field}"\r\n\r\n{value}'.encode() for field, value in fields.items()]
    parts.append(f'form-data; name="content"; filename="{filename}"\r\n\r\n'.encode() + data)
    if signature is not None:
        head = f'form-data; name="gpg_signature"; filename="{filename}.asc"\r\n\r\n'
        parts.append(head.encode() + signature)
    mark = f"--{boundary}".encode()
    body = b"".join(mark + b"\r\nContent-Disposition: " + part + b"\r\n" for part in parts) + mark + b"--\r\n"
    headers = {"Authorization": f"Bearer {index.token}", "Content-Type": f"multipart/form-data; boundary={boundary}"}
    request = urllib.request.Request(f"{index.url}legacy/", body, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()


def _wheel(name: str) -> bytes:
    info = f"{name}-1.0.dist-info"
    members = {
        f"{name}.py": b"VERSION = '1.0'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_record(data)},{len(data)}\n" for path, data in members.items())
    members[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, data in members.items():
            archive.writestr(zipfile.ZipInfo(path, (2026, 1, 1, 0, 0, 0)), data)
    return out.getvalue()


def _record(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _timed(command: list[str], environ: dict[str, str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr[-2000:]}")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
