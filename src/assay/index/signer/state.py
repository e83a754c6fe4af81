"""What was published last, verified: the signer's only truth about the past.

It is read back from the published files with the same verifying core the clients use, as of the time it was published.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from tuf.api.metadata import Snapshot, SuccinctRoles, TargetFile, Targets, Timestamp

from assay.formats.pages import ProjectPage, parse_page_json
from assay.index.published import TIMESTAMP_NAME, PublishedStore
from assay.model.digests import sha256_of
from assay.model.errors import SignerRefused, VerificationFailed
from assay.model.names import ProjectName
from assay.trust.envelope import parse_envelope
from assay.trust.layout import BINS, ROOT, SNAPSHOT, TARGETS, TargetPath, hashed_path, metadata_path, page_target
from assay.trust.lean import raw_targets
from assay.trust.plan import succinct_roles
from assay.trust.update import Answer, Fetch, Keep, Load, R, Request, Steps, drive, load_role, lookup, refresh
from assay.trust.verify import TrustedMetadata, VerifiedTarget

_SEAL = re.compile(r"(seal-[0-9]+)\.json\Z")


def newest_root(published: PublishedStore) -> bytes:
    """The root with the highest version that lies in the store. Raises SignerRefused when there is none."""
    data = published.read(metadata_path(ROOT, 1))
    if data is None:
        raise SignerRefused("this data folder has no root", subject=ROOT, rule="no-root")
    version = 1
    while (newer := published.read(metadata_path(ROOT, version + 1))) is not None:
        data, version = newer, version + 1
    return data


class PublishedState:
    """The publication that counts, as verified metadata; before the first one ``timestamp`` is None."""

    def __init__(self, published: PublishedStore, root: bytes, trusted: TrustedMetadata) -> None:
        self._published = published
        self.root = root
        self.trusted = trusted

    @classmethod
    def read(cls, published: PublishedStore, at: datetime) -> "PublishedState":
        """Read the published files back, as of ``at``, the time of that publication."""
        root = newest_root(published)
        state = cls(published, root, TrustedMetadata(root, now=at))
        if published.read(TIMESTAMP_NAME) is not None:
            drive(refresh(state.trusted), state._answer)
        return state

    @property
    def timestamp(self) -> Timestamp | None:
        """The published timestamp."""
        return self.trusted.timestamp

    @property
    def snapshot(self) -> Snapshot | None:
        """The published snapshot."""
        return self.trusted.snapshot

    def bin(self, role: str, *, keep: bool = True) -> Targets | None:
        """The published version of a bin; None before the first publication. ``keep``: for who asks again."""
        if self.timestamp is None:
            return None
        drive(load_role(self.trusted, BINS, TARGETS), self._answer)
        drive(load_role(self.trusted, role, BINS), self._answer)
        found = self.trusted.require(role)
        if not keep:
            self.trusted.forget(role)
        return found

    def bins_split(self, after: SuccinctRoles) -> Iterator[tuple[str, int, dict[str, Any]]]:
        """The published targets as ``after``, a delegation to another number of bins, divides them: name, newest
        version that this name ever had (0: none), targets as JSON by path. Bins are read one after the other.
        """
        before = self.succinct()
        old, new = list(before.get_roles()), list(after.get_roles())
        split, merged = max(1, len(new) // len(old)), max(1, len(old) // len(new))
        for start in range(0, len(new), split):
            parts: dict[str, dict[str, Any]] = {name: {} for name in new[start : start + split]}
            first = start * len(old) // len(new)
            for name in old[first : first + merged]:
                role = self.bin(name, keep=False)
                for path, target in raw_targets(role).items() if role else ():
                    parts[after.get_role_for_target(path)][path] = target
            for name, targets in parts.items():
                listed = self.snapshot.meta.get(f"{name}.json") if self.snapshot else None
                yield name, listed.version if listed else 0, targets

    def succinct(self) -> SuccinctRoles:
        """The delegation to the bins."""
        return succinct_roles(self.bins())

    def online_target(self, path: TargetPath) -> TargetFile | None:
        """What the published online bins say of ``path``."""
        role = self.bin(self.succinct().get_role_for_target(path))
        return role.targets.get(path) if role else None

    def target(self, path: TargetPath) -> VerifiedTarget | None:
        """What the published metadata says of ``path``, as a client finds it."""
        return drive(lookup(self.trusted, path), self._answer)

    def ask(self, steps: Steps[R]) -> R:
        """What ``steps`` find in the published metadata."""
        return drive(steps, self._answer)

    def seals_ever(self) -> list[str]:
        """Every seal that was ever published; their names are not used again."""
        names = self.snapshot.meta if self.snapshot else {}
        return [match[1] for name in names if (match := _SEAL.match(name))]

    def role_file(self, role: str) -> bytes:
        """The published file of ``role``. Raises SignerRefused when it is gone."""
        meta = self.trusted.role_meta(role)
        data = self._published.read(metadata_path(role, meta.version))
        if data is None:
            raise SignerRefused("a published role is gone from the store", subject=role, rule="role-gone")
        return data

    def roles_below(self, role: str) -> list[str]:
        """``role`` and every role that it delegates to, directly or not."""
        signed = parse_envelope(self.role_file(role), Targets, role).signed
        children = signed.delegations.roles if signed.delegations else None
        return [role, *(below for child in children or {} for below in self.roles_below(child))]

    def targets(self) -> Targets:
        """The published ``targets`` role, or that of the ceremony before the first publication."""
        if self.timestamp is None:
            return ceremony_role(self._published, TARGETS)
        return self.trusted.require(TARGETS)

    def bins(self) -> Targets:
        """The published ``bins`` role, or that of the ceremony before the first publication."""
        if self.timestamp is None:
            return ceremony_role(self._published, BINS)
        drive(load_role(self.trusted, BINS, TARGETS), self._answer)
        return self.trusted.require(BINS)

    def first_versions(self) -> dict[str, int]:
        """The ceremony's roles, which the first snapshot must list."""
        if self.timestamp is not None:
            return {}
        return {TARGETS: self.targets().version, BINS: self.bins().version}

    def published_copy(self, role: str) -> bytes | None:
        """The published file of timestamp or snapshot."""
        if self.snapshot is None:
            return None
        return self._published.read(metadata_path(role, self.snapshot.version if role == SNAPSHOT else None))

    def page(self, project: ProjectName) -> ProjectPage | None:
        """The published page of ``project``, checked against its target; None where none is published."""
        if self.timestamp is None:
            return None
        path = page_target(project)
        target = drive(lookup(self.trusted, path), self._answer)
        if target is None:
            return None
        data = self._published.read(hashed_path(path, target.sha256))
        if data is None or sha256_of(data) != target.sha256:
            raise VerificationFailed(
                "the published page is not the one that was signed",
                subject=path,
                rule="page-hash",
                expected=target.sha256,
                found=sha256_of(data) if data is not None else "no file",
                next_step="restore the file from a backup or a mirror; nothing is signed for this project until then",
            )
        return parse_page_json(data)

    def _answer(self, request: Request) -> Answer:
        return answer_from(self._published, {}, request)


def ceremony_role(published: PublishedStore, role: str) -> Targets:
    """Version 1 of an offline role as its ceremony left it; verified when it is published."""
    data = published.read(metadata_path(role, 1))
    if data is None:
        raise SignerRefused("the ceremony left no such role", subject=role, rule="no-offline-role")
    return parse_envelope(data, Targets, role).signed


def answer_from(published: PublishedStore, staged: Mapping[str, bytes], request: Request) -> Answer:
    """Answer a client's request from ``staged`` files first, then from the store, as a client without local files."""
    match request:
        case Fetch(role, version):
            name = metadata_path(role, version)
            return staged[name] if name in staged else published.read(name)
        case Load() | Keep():
            return None
