"""The good publication made the newest again: its content under higher versions, by the keys that are about to go.

Nobody is shown this publication: it is what the ceremony that replaces the keys starts from, and with that ceremony
every role is signed anew. Every name that is written is new, so that no cache can mistake it; the head is last.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tuf.api.metadata import Targets, Timestamp

from assay.index.log.writer import checkpoint_name
from assay.index.published import PublishedStore
from assay.index.recovery.good import MAX_SANE_VERSION, Evidence, Good, offline_versions, read_bin
from assay.index.recovery.logged import LoggedPast
from assay.index.signer.online import OnlineKeys
from assay.model.errors import AssayError
from assay.trust.claims import is_claiming
from assay.trust.envelope import parse_envelope, sign_envelope
from assay.trust.layout import (
    BIN_PREFIX,
    CLAIMED_NEW,
    SNAPSHOT,
    TIMESTAMP,
    Lifetimes,
    TargetPath,
    hashed_path,
    metadata_path,
)
from assay.trust.lean import LeanSnapshot, LeanTargets, raw_listings, raw_targets
from assay.trust.log.checkpoint import LogHead
from assay.trust.log.identity import state_head
from assay.trust.plan import plan_timestamp

ADDED, CHANGED, REMOVED, WRONG = "added", "changed", "removed", "wrong"
_PAGES = "simple/"


@dataclass(frozen=True, slots=True)
class Difference:
    """One target that was other in the newest publication than in the good one.

    ``kind``: ``added`` since (it goes), ``changed`` or ``removed`` since (the good one is back), or ``wrong``: the good
    one itself is contradicted by ``found``.
    """

    kind: str
    path: str
    good: str | None
    found: str | None


@dataclass(slots=True)
class Restoration:
    """The work on one store. ``tell`` takes every difference; ``wrong`` counts those that forbid to go on."""

    evidence: Evidence
    good: Good
    highest: Mapping[str, int]
    keys: OnlineKeys
    lifetimes: Lifetimes
    now: datetime
    log: LoggedPast | None
    tell: Callable[[Difference], None]
    wrong: int = 0
    versions: dict[str, int] = field(default_factory=dict)
    pages: dict[str, str | None] = field(default_factory=dict)

    @property
    def _local(self) -> PublishedStore:
        return self.evidence.local

    def restore_roles(self) -> None:
        """Compare every online role with the good one, and write those that differ under a new version. Not durable."""
        for role in (*self.good.succinct.get_roles(), *self._claiming()):
            good = self._read_good(role)
            if good is None:
                continue
            newest = self._newest(role)
            for difference in self._differences(good, newest):
                self.wrong += difference.kind == WRONG
                self._note_page(difference)
                self.tell(difference)
            if newest is not None and newest.to_dict() == good.to_dict() and role not in self._rewritten():
                self.versions[role] = good.version
                continue
            version = next_version(good.version, self.highest.get(role, 0))
            expires = self.now + self.lifetimes.of_online(role)
            again = LeanTargets(version, good.spec_version, expires, raw_targets(good), good.delegations)
            self._local.put({metadata_path(role, version): sign_envelope(again, [self.keys.bin])})
            self.versions[role] = version

    def publish(
        self,
        head: LogHead | None,
        checkpoint: bytes | None,
        above: int = 0,
        retired: Mapping[str, dict[str, Any]] | None = None,
    ) -> tuple[int, bytes]:
        """Write snapshot and checkpoint, durably; returns the snapshot's version and the file of its timestamp.

        ``above``: a timestamp's version that was seen; ``retired``: listings of roles that nobody delegates any more.
        """
        good = self.good.snapshot
        version = next_version(good.version, self.highest.get(SNAPSHOT, 0))
        meta = {**(retired or {}), **raw_listings(good)}
        for role, number in {**offline_versions(self.evidence, self.good, self.highest), **self.versions}.items():
            meta[f"{role}.json"] = {**meta.get(f"{role}.json", {}), "version": number}
        snapshot = LeanSnapshot(version, good.spec_version, self.now + self.lifetimes.snapshot, meta)
        data = sign_envelope(snapshot, [self.keys.snapshot])
        timestamp = plan_timestamp(self._newest_timestamp(), data, version, self.now, self.lifetimes)
        timestamp.version = max(timestamp.version, version, above + 1)
        if head is not None and checkpoint is not None:
            state_head(timestamp, head)
            self._local.put({checkpoint_name(version): checkpoint})
        self._local.put({metadata_path(SNAPSHOT, version): data})
        self._local.sync()
        return version, sign_envelope(timestamp, [self.keys.timestamp])

    def point_pages(self) -> None:
        """Make the page pointers those of the good publication."""
        for path, sha256 in self.pages.items():
            if sha256 is None:
                self._local.path(path).unlink(missing_ok=True)
            else:
                self._local.point(path, hashed_path(TargetPath(path), sha256))

    # --- how ----------------------------------------------------------------------------------------------------

    def _read_good(self, role: str) -> Targets | None:
        try:
            return read_bin(self.evidence, self.good, role) if role.startswith(f"{BIN_PREFIX}-") else self._tree(role)
        except AssayError as error:
            self.wrong += 1
            self.tell(Difference(WRONG, role, None, str(error)))
            return None

    def _tree(self, role: str) -> Targets:
        """A role that delegates the claims since the last ceremony, as the good publication lists it."""
        version = self.good.version(role) or 0
        return parse_envelope(self.evidence.read(metadata_path(role, version)) or b"", Targets, role).signed

    def _claiming(self) -> Iterator[str]:
        for name in self.good.snapshot.meta:
            role = name.removesuffix(".json")
            if is_claiming(role, CLAIMED_NEW):
                yield role

    def _newest(self, role: str) -> Targets | None:
        data = self._local.read(metadata_path(role, self.highest.get(role, 0)))
        try:
            return parse_envelope(data, Targets, role).signed if data is not None else None
        except AssayError:
            return None

    def _differences(self, good: Targets, newest: Targets | None) -> Iterator[Difference]:
        then = raw_targets(good)
        since = raw_targets(newest) if newest is not None else then
        for path, target in then.items():
            sha256 = target["hashes"].get("sha256")
            if self.log is not None and (said := self.log.contradicts(path, target)) is not None:
                yield Difference(WRONG, path, sha256, said)
            now = since.get(path)
            if now is None:
                yield Difference(REMOVED, path, sha256, None)
            elif now["hashes"] != target["hashes"] or now["length"] != target["length"]:
                yield Difference(CHANGED, path, sha256, now["hashes"].get("sha256"))
        for path in since.keys() - then.keys():
            yield Difference(ADDED, path, None, since[path]["hashes"].get("sha256"))

    def _note_page(self, difference: Difference) -> None:
        if difference.path.startswith(_PAGES) and difference.kind != WRONG:
            self.pages[difference.path] = difference.good

    def _rewritten(self) -> set[str]:
        return {name.split(".", 1)[1].removesuffix(".json") for name in self.evidence.rewritten if "/" in name}

    def _newest_timestamp(self) -> Timestamp | None:
        """The timestamp to count on from, if its number is sane."""
        data = self._local.read(metadata_path(TIMESTAMP, None))
        try:
            stamp = parse_envelope(data or b"", Timestamp, TIMESTAMP).signed
        except AssayError:
            return None
        return stamp if stamp.version < MAX_SANE_VERSION else None


def next_version(good: int, highest: int) -> int:
    """The version after everything that was ever published under the name."""
    return max(good, highest) + 1
