"""``assay recover``: freeze, compare, restore. What it did and what was lost is written beside the data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from tuf.api.metadata import Timestamp

from assay import durable
from assay.index.config import DataFolder, IndexConfig
from assay.index.ledger import Ledger, accounts, repair
from assay.index.log import log_after
from assay.index.published import TIMESTAMP_NAME, PublishedStore
from assay.index.rebuild import rebuild_ledger
from assay.index.recovery.freeze import freeze
from assay.index.recovery.good import Evidence, Good, find_good, highest_versions
from assay.index.recovery.logged import LoggedPast, Recomputed, recompute, stated_then
from assay.index.recovery.restore import WRONG, Difference, Restoration
from assay.index.signer.cosign import cosignatures_needed
from assay.index.signer.online import Keyring
from assay.index.signer.state import PublishedState, answer_from, newest_root
from assay.model.errors import AssayError, OperatorError, VerificationFailed
from assay.trust.envelope import parse_envelope
from assay.trust.layout import TIMESTAMP
from assay.trust.log.checkpoint import LogHead, LogIdentity, sign_checkpoint
from assay.trust.log.identity import stated_head
from assay.trust.update import drive, refresh
from assay.trust.verify import TrustedMetadata

SHOWN = 20
ACTOR = "recover"


@dataclass(slots=True)
class Recovered:
    """What was done. ``counts``: differences by kind; ``examples``: the first of them.

    ``outside``: what vouched for the good publication from elsewhere; ``warnings``: for people to read.
    """

    good: int
    made: datetime
    publication: int
    counts: dict[str, int] = field(default_factory=dict)
    examples: list[Difference] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    rewritten: int = 0
    proposals: int = 0
    withdrawn: repair.Withdrawn = field(default_factory=lambda: repair.Withdrawn(0, 0, 0, 0))
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Request:
    """What the operator says: the last ``good`` publication, ``copies`` of the published folder from elsewhere, and
    ``snapshots`` (version -> file) that clients or witnesses kept.
    """

    good: int | datetime
    copies: Sequence[Path] = ()
    snapshots: Mapping[int, bytes] = field(default_factory=dict)


def recover(
    data: DataFolder, config: IndexConfig, passphrase: str | None, request: Request, now: datetime
) -> Recovered:
    """Freeze the index, compare it with the good publication, and make that the newest, to be signed by new keys.

    Raises OperatorError or VerificationFailed, with the index frozen and what clients were shown unchanged, when the
    good publication itself is contradicted by a copy, the log or its signatures. Run again after an interruption, it
    does the same once more.
    """
    published = PublishedStore(data.published)
    evidence = Evidence(published, [PublishedStore(path) for path in request.copies], request.snapshots)
    highest = highest_versions(published)
    good = find_good(evidence, request.good, highest, config.lifetimes.snapshot)
    keyring = Keyring(data.keys, passphrase, config.keys.uris())
    keys = keyring.open(good.root, good.bins)
    freeze(data, [signer.public_key.keyid for signer in (keys.timestamp, keys.snapshot, keys.bin)])
    _require_no_witnesses(good)
    made = Recovered(good.snapshot.version, good.made, 0)
    identity = log_after(good.targets, None)
    past = _Past.of(evidence, identity, good, made.warnings)
    lost = data.root / "recovery" / "lost.jsonl"
    with lost.open("wb") as file:

        def tell(difference: Difference) -> None:
            made.counts[difference.kind] = made.counts.get(difference.kind, 0) + 1
            if len(made.examples) < SHOWN or difference.kind == WRONG:
                made.examples.append(difference)
            file.write(orjson.dumps(asdict(difference), option=orjson.OPT_APPEND_NEWLINE))

        work = Restoration(evidence, good, highest, keys, config.lifetimes, now, past.log, tell)
        work.restore_roles()
    made.rewritten = len(evidence.rewritten)
    _require_uncontradicted(work, made)
    checkpoint = None
    if identity is not None and past.head is not None:
        published.put(past.repairs)
        checkpoint = sign_checkpoint(identity, past.head, keyring.open_log(identity))
    made.publication, timestamp = work.publish(past.head, checkpoint)
    _settle(data, published, work, made, timestamp, now)
    made.outside += [f"copy {path}" for path in request.copies] + (["kept snapshots"] if request.snapshots else [])
    if not made.outside:
        made.warnings.append(
            "nothing outside this machine vouches for the good publication: run it again with --copy (a mirror, a "
            "backup) or --bundle (what `assay trust export` wrote on any client before the break-in)"
        )
    durable.write_file(data.root / "recovery" / "report.json", orjson.dumps(made.to_dict(), default=str))
    return made


@dataclass(frozen=True, slots=True)
class _Past:
    """The log as it goes on: its entries up to the good publication, the head it continues from, files to mend."""

    log: LoggedPast | None
    head: LogHead | None
    repairs: Mapping[str, bytes]

    @classmethod
    def of(cls, evidence: Evidence, identity: LogIdentity | None, good: Good, warnings: list[str]) -> "_Past":
        """The longest log that has the good publication's as its beginning. Raises VerificationFailed."""
        if identity is None:
            return cls(None, None, {})
        then = stated_then(evidence, identity, good.snapshot.version)
        if then is None:
            raise VerificationFailed(
                "the log's checkpoint of the good publication is gone",
                subject=f"log/checkpoints/{good.snapshot.version}",
                rule="log-edge",
                next_step="say --copy FOLDER, or choose another publication",
            )
        whole = _recomputed(evidence, _newest_head(evidence), then)
        if whole is None:
            whole = _recomputed(evidence, then, then)
            warnings.append(
                "the log was rewritten or cut since: it goes on from the good publication, and monitors say so"
            )
        if whole is None or whole.root_at_mark != then.root:
            raise VerificationFailed(
                "the log's entries are not those of the good publication",
                rule="log-entries",
                expected=f"root {then.root.hex()}",
                found=f"root {whole.root_at_mark.hex()}" if whole else "entries that are gone",
                next_step="say --copy FOLDER, or choose an earlier publication",
            )
        head = LogHead(whole.edge.size, whole.edge.root)
        return cls(LoggedPast(evidence, then.size), head, whole.repairs)


def _recomputed(evidence: Evidence, head: LogHead | None, mark: LogHead) -> Recomputed | None:
    """The log of ``head``, if its entries are here, make its root, and begin with those of ``mark``."""
    if head is None or head.size < mark.size:
        return None
    try:
        found = recompute(LoggedPast(evidence, head.size), mark.size)
    except AssayError:
        return None
    return found if (found.edge.root, found.root_at_mark) == (head.root, mark.root) else None


def _newest_head(evidence: Evidence) -> LogHead | None:
    try:
        return stated_head(parse_envelope(evidence.local.read(TIMESTAMP_NAME) or b"", Timestamp, TIMESTAMP).signed)
    except AssayError:
        return None


def _require_no_witnesses(good: Good) -> None:
    if cosignatures_needed(good.root, good.bins):
        raise OperatorError(
            "this index has witnesses: nothing was published without them, and nothing can be taken back behind them",
            rule="recovery-witnessed",
            next_step="assay key rotate-online and a ceremony; then assay remove what came in somebody else's name",
        )


def _require_uncontradicted(work: Restoration, made: Recovered) -> None:
    if work.wrong:
        wrong = [each for each in made.examples if each.kind == WRONG]
        raise VerificationFailed(
            f"{work.wrong} parts of the good publication were rewritten here; nothing was restored",
            subject=wrong[0].path,
            rule="recovery-contradicted",
            expected=wrong[0].good,
            found=wrong[0].found,
            next_step="say --copy FOLDER: a backup's or a mirror's published folder; or choose an earlier publication",
        )


def _settle(
    data: DataFolder, published: PublishedStore, work: Restoration, made: Recovered, timestamp: bytes, now: datetime
) -> None:
    """Ledger, head and pointers; what was granted since goes. First it is read as a client would."""
    state = _read_back(published, timestamp, now)
    ledger = Ledger.open(data.ledger_file)
    try:
        rebuild_ledger(state, ledger, now)
        with ledger.write() as connection:
            reason = "the index was recovered after a break-in: send it again"
            made.proposals = repair.drop_proposals(connection, reason)
            made.withdrawn = repair.withdraw_rights(connection, made.made, now)
            repair.set_head(connection, made.publication, timestamp, now)
            accounts.record_event(
                connection,
                "index-recovered",
                ACTOR,
                now,
                good=made.good,
                publication=made.publication,
                differences=made.counts,
            )
    finally:
        ledger.close()
    published.write({TIMESTAMP_NAME: timestamp})
    work.point_pages()


def _read_back(published: PublishedStore, timestamp: bytes, now: datetime) -> PublishedState:
    """What was written, verified from the root on. Raises VerificationFailed before anything counts."""
    root = newest_root(published)
    trusted = TrustedMetadata(root, now=now)
    drive(refresh(trusted), lambda request: answer_from(published, {TIMESTAMP_NAME: timestamp}, request))
    return PublishedState(published, root, trusted)
