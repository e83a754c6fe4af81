"""Hostile metadata, pages, notes, bundles and lock files: the client refuses them in its own words, and at once.

``ASSAY_SEED`` replays, ``ASSAY_EXAMPLES=100000`` tries longer. Uploads have their own fuzzers (``tests/fuzz``).
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from random import Random, SystemRandom

import orjson
import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from assay.client.lock.verify import read_lock
from assay.client.registry import Bundle, decode_bundle, encode_bundle
from assay.formats.pages import PageFile, ProjectPage, RemovedFile, file_url, parse_page_json, render_page_json
from assay.model.digests import sha256_of
from assay.model.errors import AssayError
from assay.model.names import ProjectName
from assay.provenance.integrity import parse_provenance
from assay.trust import canonical
from assay.trust.envelope import assemble, parse_envelope
from assay.trust.layout import BINS, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, metadata_filename
from assay.trust.log.checkpoint import LogHead, LogIdentity, parse_head, sign_checkpoint
from assay.trust.log.entry import LogEntry, decode_entry, encode_entry
from assay.trust.log.identity import identity_of_key
from assay.trust.log.note import parse_note, parse_vkey
from assay.trust.log.tree import Hash
from client import test_lock_formats as locks
from faults.mutations import Spoil, spoil_bytes, spoil_json, spoil_tree
from support.simulator import NOW, SIGNERS, AssayClient, Simulator, StockClient, target, verdict

EXAMPLES = int(os.environ.get("ASSAY_EXAMPLES") or 300)
SECONDS = 5.0
"""No document of a few kilobytes takes longer to refuse, on a busy machine too."""

pytestmark = pytest.mark.timeout(300 + EXAMPLES)


@pytest.fixture
def random() -> Random:
    seed = int(os.environ.get("ASSAY_SEED") or SystemRandom().randrange(10**9))
    print(f"seed {seed}")
    return Random(seed)


def refuses_or_reads(read: Callable[[bytes], object], data: bytes) -> None:
    began = time.process_time()
    try:
        read(data)
    except AssayError:
        pass
    except Exception as error:
        raise AssertionError(f"{type(error).__name__} for {data[:2_000]!r}") from error
    assert time.process_time() - began < SECONDS, data[:2_000]


def page() -> bytes:
    wheel = "demo-1.0-py3-none-any.whl"
    url = file_url(ProjectName("demo"), "1.0", wheel)
    file = PageFile(
        wheel, url, sha256_of(b""), 5, NOW, yanked="why", core_metadata=sha256_of(b"m"), requires_python=">3"
    )
    gone = RemovedFile("demo-0.1-py3-none-any.whl", sha256_of(b"g"), NOW, NOW)
    return render_page_json(ProjectPage(ProjectName("demo"), "upload", (file,), removed=(gone,)))


def checkpoint() -> bytes:
    signer = SIGNERS[ROOT]
    public = bytes.fromhex(signer.public_key.keyval["public"])
    identity: LogIdentity = identity_of_key(public)
    return sign_checkpoint(identity, LogHead(5, Hash(b"\x01" * 32)), lambda _: b"\x02" * 64)


PROVENANCE = orjson.dumps(
    {
        "version": 1,
        "attestation_bundles": [
            {
                "publisher": {"kind": "GitHub", "repository": "a/b", "workflow": "w.yml", "environment": None},
                "attestations": [
                    {
                        "version": 1,
                        "verification_material": {"certificate": "AAAA", "transparency_entries": [{}]},
                        "envelope": {"statement": "AAAA", "signature": "AAAA"},
                    }
                ],
            }
        ],
    }
)

INDEX = Simulator()
INDEX.publish(target("packages/demo/1.0/demo-1.0-py3-none-any.whl", b"bytes"))

READERS: dict[str, tuple[Callable[[bytes], object], bytes, Spoil]] = {
    "root": (lambda data: parse_envelope(data, Root, ROOT), INDEX.files["1.root.json"], spoil_json),
    "timestamp": (lambda data: parse_envelope(data, Timestamp, TIMESTAMP), INDEX.files["timestamp.json"], spoil_json),
    "snapshot": (lambda data: parse_envelope(data, Snapshot, SNAPSHOT), INDEX.files["2.snapshot.json"], spoil_json),
    "bins": (lambda data: parse_envelope(data, Targets, BINS), INDEX.files["1.bins.json"], spoil_json),
    "page": (parse_page_json, page(), spoil_json),
    "note": (lambda data: parse_head(parse_note(data).text), checkpoint(), spoil_bytes),
    "vkey": (lambda data: parse_vkey(data.decode("latin-1")), b"example+12345678+AVlZ", spoil_bytes),
    "entry": (decode_entry, encode_entry(LogEntry("user-created", NOW, "admin", "demo", {"a": [1]})), spoil_json),
    "bundle": (decode_bundle, encode_bundle(Bundle("http://x.example/", INDEX.root_bytes())), spoil_json),
    "provenance": (parse_provenance, PROVENANCE, spoil_json),
}


@pytest.mark.parametrize("kind", READERS)
def test_what_the_index_serves(kind: str, random: Random) -> None:
    read, good, spoil = READERS[kind]
    if kind not in ("vkey", "provenance"):  # these seeds are good in form only
        read(good)
    for _ in range(EXAMPLES):
        refuses_or_reads(read, spoil(good, random))


LOCKS = {
    "requirements.txt": locks.REQUIREMENTS,
    "uv.lock": locks.UV,
    "poetry.lock": locks.POETRY,
    "pdm.lock": locks.PDM,
    "pylock.toml": locks.PYLOCK,
    "Pipfile.lock": locks.PIPFILE,
}


@pytest.mark.parametrize("name", LOCKS)
def test_lock_files_of_a_pull_request(name: str, random: Random, tmp_path: Path) -> None:
    path, good = tmp_path / name, LOCKS[name].encode()

    def read(data: bytes) -> object:
        path.write_bytes(data)
        return read_lock(path)

    read(good)
    for _ in range(EXAMPLES):
        refuses_or_reads(read, spoil_bytes(good, random))


SIGNED = (TARGETS, BINS, "bin-0", "bin-1", "bin-2", "bin-3", SNAPSHOT, TIMESTAMP, ROOT)


def test_signed_but_hostile_roles(random: Random, tmp_path: Path) -> None:
    """A19: whoever has a role's key signs nonsense. Assay never believes what a stock client refuses to believe."""
    path = "packages/demo/1.0/demo-1.0-py3-none-any.whl"
    for number in range(max(40, EXAMPLES // 5)):
        index = Simulator()
        index.publish(target(path, b"bytes"))
        role = random.choice(SIGNED)
        name = metadata_filename(role, None if role == TIMESTAMP else index.roles[role].version)
        document = spoil_tree(orjson.loads(index.files[name])["signed"], random)
        signer = SIGNERS["bin" if role.startswith("bin-") else role]
        index.files[name] = _signed(document, signer) or index.files[name]
        ours = verdict(AssayClient(INDEX.root_bytes() if role != ROOT else index.root_bytes()), index, path)
        theirs = verdict_of_stock(StockClient(index.root_bytes(), tmp_path / str(number)), index, path)
        assert ours in ("refused", "none", theirs), (role, orjson.dumps(document))


def verdict_of_stock(client: StockClient, index: Simulator, path: str) -> str:
    try:
        return verdict(client, index, path)
    except Exception:  # noqa: BLE001 - what a stock client stumbles over it does not believe
        return "refused"


def _signed(document: object, signer: CryptoSigner) -> bytes | None:
    """``document`` as a metadata file; None where it has no canonical form to sign."""
    if not isinstance(document, dict):
        return None
    try:
        return assemble(document, [signer.sign(canonical.encode(document))])
    except (AssayError, TypeError, ValueError, RecursionError):
        return None
