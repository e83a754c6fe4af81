"""After a restore: never sign below what anybody saw published (threat B13).

A copy of the published folder that is newer than the backup is adopted whole. Of a newer publication that is known by
its numbers only, the numbers are counted on from, and what it held is lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tuf.api.metadata import Root, Snapshot, Timestamp

from assay.index.config import DataFolder, IndexConfig
from assay.index.ledger import Ledger, accounts, repair
from assay.index.ledger.publications import read_head
from assay.index.log import LogWriter, no_log_key
from assay.index.log.writer import checkpoint_name
from assay.index.published import TIMESTAMP_NAME, PublishedStore
from assay.index.rebuild import as_of, rebuild_ledger
from assay.index.recovery.freeze import restored_mark
from assay.index.recovery.good import Evidence, Good, find_good, highest_versions
from assay.index.recovery.restore import Restoration
from assay.index.signer.cosign import cosignatures_needed
from assay.index.signer.head import show_head
from assay.index.signer.online import Keyring
from assay.index.signer.state import PublishedState, answer_from, newest_root
from assay.index.upkeep.backup import copy_whole
from assay.index.upkeep.restore import point_pages
from assay.model.errors import AssayError, OperatorError, VerificationFailed
from assay.trust.envelope import parse_envelope
from assay.trust.layout import BINS, CLAIMED_NEW, ROOT, SNAPSHOT, TIMESTAMP, metadata_path
from assay.trust.lean import raw_listings
from assay.trust.log.checkpoint import sign_checkpoint
from assay.trust.log.identity import named_log, stated_head
from assay.trust.update import drive, load_role, refresh
from assay.trust.verify import TrustedMetadata, require_role_signed

ACTOR = "restore"


@dataclass(frozen=True, slots=True)
class Seen:
    """A publication that somebody saw: its timestamp and snapshot, as files."""

    timestamp: bytes
    snapshot: bytes


@dataclass(frozen=True, slots=True)
class Confirmed:
    """How an index goes on. ``backup``, ``seen``: the newest snapshot of each; ``adopted``: nothing is lost."""

    backup: int
    seen: int
    adopted: bool
    publication: int

    @property
    def lost(self) -> int:
        """How many publications after the backup are gone."""
        return 0 if self.adopted else max(0, self.seen - self.backup)


def confirm(
    data: DataFolder,
    config: IndexConfig,
    passphrase: str | None,
    copies: Sequence[PublishedStore],
    seen: Sequence[Seen],
    now: datetime,
) -> Confirmed:
    """Go on above everything that ``copies`` of the published folder and ``seen`` show; the index may be served then.

    Raises OperatorError for an index with witnesses that is behind and has no whole copy to go on from.
    """
    published = PublishedStore(data.published)
    ours = _snapshot_version(published)
    every = [*seen, *(one for copy in copies if (one := _seen_in(copy)) is not None)]
    root = parse_envelope(newest_root(published), Root, ROOT).signed
    newest = max((_verified(each, root) for each in every), key=lambda each: each[1].version, default=None)
    if newest is None or newest[1].version <= ours:
        restored_mark(data).unlink(missing_ok=True)
        return Confirmed(ours, newest[1].version if newest else ours, True, ours)
    for copy in copies:
        if (adopted := _adopt(data, copy, newest[1].version, now)) is not None:
            restored_mark(data).unlink(missing_ok=True)
            return Confirmed(ours, newest[1].version, True, adopted)
    publication = _go_on_above(data, config, passphrase, newest, now)
    restored_mark(data).unlink(missing_ok=True)
    return Confirmed(ours, newest[1].version, False, publication)


# --- what was seen ----------------------------------------------------------------------------------------------


def _seen_in(copy: PublishedStore) -> Seen | None:
    stamp = copy.read(TIMESTAMP_NAME)
    if stamp is None:
        return None
    version = parse_envelope(stamp, Timestamp, TIMESTAMP).signed.snapshot_meta.version
    snapshot = copy.read(metadata_path(SNAPSHOT, version))
    return Seen(stamp, snapshot) if snapshot is not None else None


def _verified(seen: Seen, root: Root) -> tuple[Timestamp, Snapshot]:
    """Whatever was seen counts only with the index's own signatures: a forged high number would cost versions."""
    stamp, snapshot = (
        parse_envelope(seen.timestamp, Timestamp, TIMESTAMP),
        parse_envelope(seen.snapshot, Snapshot, SNAPSHOT),
    )
    require_role_signed(root, TIMESTAMP, stamp)
    require_role_signed(root, SNAPSHOT, snapshot)
    return stamp.signed, snapshot.signed


def _snapshot_version(published: PublishedStore) -> int:
    stamp = parse_envelope(published.read(TIMESTAMP_NAME) or b"", Timestamp, TIMESTAMP).signed
    version: int = stamp.snapshot_meta.version
    return version


def _adopt(data: DataFolder, copy: PublishedStore, version: int, now: datetime) -> int | None:
    """Take the publication of ``copy`` if it is that one and whole; returns its number, None where it is not."""
    stamp, published = copy.read(TIMESTAMP_NAME), PublishedStore(data.published)
    if stamp is None or parse_envelope(stamp, Timestamp, TIMESTAMP).signed.snapshot_meta.version != version:
        return None
    for top in ("tuf", "simple", "log"):
        for source in copy.path(top).rglob("*"):
            wanted = published.path(str(source.relative_to(copy.root)))
            if source.is_file() and not wanted.exists():
                copy_whole(source, wanted)
    try:
        made = as_of(stamp, now)
        state = _whole(published, stamp, made)
        checkpoint = copy.read("log/checkpoint") if stated_head(_require(state)) is not None else None
        published.write({checkpoint_name(version): checkpoint} if checkpoint is not None else {})
        _settle(data, published, version, stamp, made)
    except AssayError:
        return None
    return version


def _whole(published: PublishedStore, stamp: bytes, now: datetime) -> PublishedState:
    """The publication of ``stamp``, every bin of it read. Raises when a part is not there."""
    trusted = TrustedMetadata(newest_root(published), now=now)
    drive(refresh(trusted), lambda request: answer_from(published, {TIMESTAMP_NAME: stamp}, request))
    state = PublishedState(published, newest_root(published), trusted)
    for role in state.succinct().get_roles():
        drive(load_role(trusted, role, BINS), lambda request: answer_from(published, {}, request))
        trusted.forget(role)
    return state


def _require(state: PublishedState) -> Timestamp:
    if state.timestamp is None:
        raise VerificationFailed("no timestamp", subject=TIMESTAMP, rule="role-gone")
    return state.timestamp


def _go_on_above(
    data: DataFolder, config: IndexConfig, passphrase: str | None, newest: tuple[Timestamp, Snapshot], now: datetime
) -> int:
    """Sign what the backup holds under numbers above those that were seen."""
    published = PublishedStore(data.published)
    highest = highest_versions(published)
    evidence = Evidence(published)
    good = find_good(evidence, _snapshot_version(published), highest, config.lifetimes.snapshot)
    listed = raw_listings(newest[1])
    above = {name.removesuffix(".json"): each["version"] for name, each in listed.items()}
    _require_possible(good, listed)
    keyring = Keyring(data.keys, passphrase, config.keys.uris())
    known = {role: max(highest.get(role, 0), above.get(role, 0)) for role in {*highest, *above}}
    known[SNAPSHOT] = max(known.get(SNAPSHOT, 0), newest[1].version)
    work = Restoration(
        evidence, good, known, keyring.open(good.root, good.bins), config.lifetimes, now, None, lambda _difference: None
    )
    work.restore_roles()
    identity, stamp = (
        named_log(good.targets),
        parse_envelope(published.read(TIMESTAMP_NAME) or b"", Timestamp, TIMESTAMP),
    )
    head = stated_head(stamp.signed)
    checkpoint = None
    if identity is not None and head is not None:
        checkpoint = sign_checkpoint(identity, head, keyring.open_log(identity))
    retired = {name: each for name, each in listed.items() if name not in good.snapshot.meta}
    number, timestamp = work.publish(head, checkpoint, newest[0].version, retired)
    _whole(published, timestamp, now)
    _settle(data, published, number, timestamp, now)
    return number


def _require_possible(good: Good, seen: Mapping[str, Mapping[str, int]]) -> None:
    """Raise OperatorError where the index alone cannot go on: somebody else's signature is what is newer."""
    ours = raw_listings(good.snapshot)
    behind = [
        name
        for name, each in seen.items()
        if name in ours and ours[name]["version"] < each["version"] and not name.startswith(("bin-", CLAIMED_NEW))
    ]
    if behind or cosignatures_needed(good.root, good.bins):
        raise OperatorError(
            "others signed for what was published after this backup, and it is not here",
            subject=", ".join(sorted(behind)[:3]) or "the witnesses",
            rule="restore-behind",
            expected="a copy of the published folder as it was last",
            found=f"a backup, and newer numbers of {len(behind)} roles",
            next_step="--published FOLDER from a mirror; without one: assay recover, and a ceremony for new keys",
        )


def _settle(data: DataFolder, published: PublishedStore, number: int, timestamp: bytes, now: datetime) -> None:
    """Ledger and pointers follow the publication ``number``."""
    ledger = Ledger.open(data.ledger_file)
    try:
        with ledger.write() as connection:
            repair.set_head(connection, number, timestamp, now)
            head = read_head(connection)
            accounts.record_event(connection, "index-restored", ACTOR, now, publication=number)
        show_head(published, LogWriter(published, no_log_key), head)
        state = PublishedState.read(published, now)
        point_pages(state, published)
        rebuild_ledger(state, ledger, now)
    finally:
        ledger.close()
