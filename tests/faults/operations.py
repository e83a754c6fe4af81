"""Everything that changes an index or a client, as it is done on the machine: what the kill campaign kills.

An operation starts its own machine (``Host``), does one thing, and says so to ``case.acknowledge`` once it is done, as
web does with its 200. It may be done again after a crash; then it must come to its end.
"""

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tuf.api.metadata import Root

from assay import durable
from assay.client.trusted_index import TrustedIndex
from assay.fetch import Fetcher
from assay.index import states
from assay.index.blobs import BlobStore
from assay.index.handover import hand_over
from assay.index.sealing import plan_sealing
from assay.index.signer.state import newest_root
from assay.index.upkeep.sweep import LEAST_GRACE, sweep
from assay.keys.files import load_key_file
from assay.keys.offline_draft import OfflineDraft
from assay.keys.online import create_online_key, successor_path
from assay.keys.sealing import sign_seal
from assay.model.digests import sha256_of
from assay.model.distributions import parse_distribution
from assay.model.errors import AlreadyExists, CallerError
from assay.model.names import parse_project_name
from assay.trust.envelope import parse_envelope, sign_envelope
from assay.trust.layout import ROOT, TARGETS, TIMESTAMP, Lifetimes, metadata_filename
from faults.host import ATTESTED, DEMO, NOW, Host, target_of, use_client
from index.ledger_index import LedgerIndex, build_wheel, wheel_name

THEIRS = parse_project_name("theirs")


@dataclass
class Case:
    """One copy of the world. ``web``: where the copy is served to clients; ``upstream``: the other index."""

    folder: Path
    web: str
    upstream: str
    acknowledge: Callable[[], None]

    def host(self, **later: float) -> Host:
        return Host(self.folder / "index", NOW + timedelta(**later))

    @property
    def client(self) -> Path:
        return self.folder / "client"


@dataclass(frozen=True)
class Operation:
    """``is_done`` looks at an index that has started. ``removes``: paths that it takes away.

    ``prepare``: what happens to the copy before. ``hours`` after NOW. ``is_clients``: it needs the copy to be served.
    """

    name: str
    act: Callable[[Case], None]
    is_done: Callable[[Host, Path], bool]
    removes: tuple[str, ...] = ()
    prepare: Callable[[Case], None] = lambda _: None
    hours: float = 0.0
    is_clients: bool = False


# --- uploads --------------------------------------------------------------------------------------------------


def _upload(case: Case) -> None:
    host = case.host()
    with durable.storage_errors():  # web says so itself where it cannot keep what comes in
        for project, version in ((DEMO, "2.0"), ("fresh", "1.0")):
            host.publish(project, version, host.principal((case.folder / "alice.token").read_text()))
    case.acknowledge()


def _shows(host: Host, project: str, version: str) -> bool:
    page = host.state().page(parse_project_name(project))
    wheel = sha256_of(build_wheel(project, version))
    entry = page.file(wheel_name(project, version)) if page else None
    return entry is not None and entry.sha256 == wheel == host.vouched(project, version)


def _attest(case: Case) -> None:
    host = case.host()
    attestations = f"[{(case.folder / 'attestation.json').read_text()}]"
    data, name = build_wheel(DEMO, ATTESTED), wheel_name(DEMO, ATTESTED)
    alice = host.principal((case.folder / "alice.token").read_text())
    with durable.storage_errors():
        seq = host.admit(data, name, alice, attestations=attestations)
    host.sign()
    assert host.outcome(seq)[0] == "published", host.outcome(seq)
    case.acknowledge()


def _is_attested(host: Host, _: Path) -> bool:
    entry = host.page().file(wheel_name(DEMO, ATTESTED))
    return _shows(host, DEMO, ATTESTED) and entry is not None and entry.provenance is not None


def _wait_for_signer(case: Case) -> None:
    """Two uploads are admitted and wait."""
    host = LedgerIndex(case.folder / "index", NOW)
    alice = host.principal((case.folder / "alice.token").read_text())
    for project, version in ((DEMO, "2.0"), ("fresh", "1.0")):
        host.admit(build_wheel(project, version), wheel_name(project, version), alice)
    host.ledger.close()


def _publish(case: Case) -> None:
    case.host()
    case.acknowledge()


# --- states ---------------------------------------------------------------------------------------------------


def _yank(case: Case) -> None:
    host = case.host()
    with host.write() as connection:
        states.yank(connection, DEMO, "1.1", "broken", "boss", host.now)
    host.sign()
    case.acknowledge()


def _is_yanked(host: Host, _: Path) -> bool:
    entry = host.page().file(wheel_name(DEMO, "1.1"))
    return entry is not None and entry.yanked == "broken"


def _remove(case: Case) -> None:
    host = case.host()
    with suppress(CallerError), host.write() as connection:  # it is removed already
        states.remove_files(connection, DEMO, "1.1", "leaked", "boss", host.now)
    host.sign()
    case.acknowledge()


def _is_removed(host: Host, _: Path) -> bool:
    page = host.page()
    return host.vouched(DEMO, "1.1") is None and wheel_name(DEMO, "1.1") in {file.filename for file in page.removed}


def _quarantine(case: Case) -> None:
    host = case.host()
    with host.write() as connection:
        states.set_status(connection, DEMO, "quarantined", "malware?", "boss", host.now)
    host.sign()
    case.acknowledge()


# --- keys, roots, seals ---------------------------------------------------------------------------------------


def _rotate(case: Case) -> None:
    """Replace the timestamp's key: a successor beside it, a root that names it, and the signer takes both."""
    host = case.host()
    successor = successor_path(host.data.keys, TIMESTAMP)
    root = parse_envelope(newest_root(host.published), Root, ROOT).signed
    if root.version == 1:
        with suppress(AlreadyExists):
            create_online_key(host.data.keys, TIMESTAMP, None)
        root.revoke_key(root.roles[TIMESTAMP].keyids[0], TIMESTAMP)
        root.add_key(load_key_file(successor, None).public_key, TIMESTAMP)
        root.version = 2
        signed = sign_envelope(root, [load_key_file(host.data.keys.path(ROOT), None)])
        durable.write_file(host.data.inbox / metadata_filename(ROOT, 2), signed)
        host.sign()
    case.host()
    case.acknowledge()


def _is_rotated(host: Host, _: Path) -> bool:
    return host.root_version() == 2 and not successor_path(host.data.keys, TIMESTAMP).exists()


def _renew(case: Case) -> None:
    """A start after seven months: root, targets and bins are due, and everything online has expired."""
    case.host(hours=24 * 210)
    case.acknowledge()


def _seal(case: Case) -> None:
    host, draft = case.host(), OfflineDraft(case.folder / "draft")
    shutil.rmtree(draft.folder, ignore_errors=True)
    with suppress(CallerError):  # nothing is new since the last sealing
        plan_sealing(host.data, draft.folder, host.now)
        sealed = sign_seal(draft, host.now, Lifetimes())
        draft.sign(str(host.data.keys.path(TARGETS)), lambda _: "", sealed.bodies)
        hand_over(draft, host.data, host.now)
    host.sign()
    case.acknowledge()


def _is_sealed(host: Host, _: Path) -> bool:
    target = host.state().target(target_of(wheel_name(DEMO, "1.0")))
    return target is not None and target.role.startswith("seal-1")


def _sweep(case: Case) -> None:
    """A month later what nobody can ask for any more goes."""
    host = case.host(hours=24 * 30)
    with durable.storage_errors():  # housekeeping says so, and goes on six hours later
        sweep(host.published, host.now, LEAST_GRACE, Lifetimes().snapshot)
    case.acknowledge()


def _is_swept(host: Host, _: Path) -> bool:
    return not (host.data.published / "tuf" / "1.snapshot.json").exists()


# --- upstream and client --------------------------------------------------------------------------------------


def _pull(case: Case) -> None:
    import asyncio

    host, name = case.host(), wheel_name("theirs", "1.0")

    async def run() -> None:
        async with Fetcher() as fetcher:
            pull = host.pull_through(fetcher, case.upstream)
            await pull.fetch_page(THEIRS)
            await pull.fetch_file(THEIRS, "1.0", name)

    asyncio.run(run())
    case.acknowledge()


def _is_pulled(host: Host, _: Path) -> bool:
    wheel = sha256_of(build_wheel("theirs", "1.0"))
    return _shows(host, "theirs", "1.0") and BlobStore(host.data.blobs).path(wheel).exists()


def _refresh(case: Case) -> None:
    wheel = parse_distribution(wheel_name(DEMO, "1.1"))

    async def use(index: TrustedIndex) -> bytes:
        await index.refresh()
        return (await index.file(wheel)).path.read_bytes()

    assert use_client(case.client, case.web, NOW, use) == build_wheel(DEMO, "1.1")
    case.acknowledge()


def _keeps_nothing_that_counts(_: Host, __: Path) -> bool:
    """A client's files are a cache: a power cut may take them; the second try asserts that it gets them again."""
    return True


OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("upload", _upload, lambda host, _: _shows(host, DEMO, "2.0") and _shows(host, "fresh", "1.0")),
        Operation("attest", _attest, _is_attested),
        Operation("publish", _publish, lambda host, _: _shows(host, DEMO, "2.0"), prepare=_wait_for_signer),
        Operation("yank", _yank, _is_yanked),
        Operation("remove", _remove, _is_removed, removes=(target_of(wheel_name(DEMO, "1.1")),)),
        Operation("quarantine", _quarantine, lambda host, _: host.page().status == "quarantined"),
        Operation("rotate", _rotate, _is_rotated),
        Operation("renew", _renew, lambda host, _: host.root_version() == 2, hours=24 * 210),
        Operation("seal", _seal, _is_sealed),
        Operation("sweep", _sweep, _is_swept, hours=24 * 30),
        Operation("pull", _pull, _is_pulled),
        Operation("refresh", _refresh, _keeps_nothing_that_counts, is_clients=True),
    )
}
