"""Large roles read at once and looked into late: a snapshot's listings and a bin's targets stay JSON until asked for.

A bin of PyPI's size lists 530 targets, of which a client wants one; a snapshot lists 16,384 roles. Making an object of
each is most of what a stock client spends. Invariant: these classes refuse what ``Snapshot.from_dict`` and
``Targets.from_dict`` of python-tuf refuse, and write what they write (tests/trust/test_lean.py compares them).
"""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from copy import deepcopy
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar, cast

from tuf.api.metadata import Delegations, MetaFile, Signed, Snapshot, TargetFile, Targets

Raw = dict[str, Any]


class _Listed(Protocol):
    def to_dict(self) -> Raw: ...


V = TypeVar("V", bound=_Listed)


class LateMapping(MutableMapping[str, V], Generic[V]):
    """Name -> object, made from its JSON when it is first asked for. Iterating over the names makes none."""

    __slots__ = ("_made", "_raw", "_read")

    def __init__(self, raw: Raw, read: Callable[[str, Raw], V]) -> None:
        self._raw = raw
        self._read = read
        self._made: dict[str, V] = {}

    def raw(self) -> Raw:
        """The JSON of everything; a new dictionary, whose values nobody may change."""
        return self._raw | {name: value.to_dict() for name, value in self._made.items()}

    def __getitem__(self, name: str) -> V:
        if name not in self._made:
            self._made[name] = self._read(name, self._raw[name])
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._raw

    def __setitem__(self, name: str, value: V) -> None:
        self._raw[name] = {}
        self._made[name] = value

    def __delitem__(self, name: str) -> None:
        del self._raw[name]
        self._made.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)


def _read_target(path: str, raw: Raw) -> TargetFile:
    return TargetFile.from_dict(dict(raw), path)


def _read_meta(_name: str, raw: Raw) -> MetaFile:
    return MetaFile.from_dict(dict(raw))


class LeanTargets(Targets):
    """A ``targets`` role whose ``targets`` are a ``LateMapping``; ``raw`` are its checked targets and is not copied."""

    def __init__(
        self,
        version: int,
        spec_version: str,
        expires: datetime,
        raw: Raw,
        delegations: Delegations | None = None,
        unrecognized_fields: Raw | None = None,
    ) -> None:
        late = cast("dict[str, TargetFile]", LateMapping(raw, _read_target))
        super().__init__(version, spec_version, expires, late, delegations, unrecognized_fields)

    @classmethod
    def from_dict(cls, signed_dict: Raw) -> "LeanTargets":
        """As ``Targets.from_dict``, with the same errors."""
        version, spec_version, expires = _common_fields(cls, signed_dict)
        raw = signed_dict.pop("targets")
        delegations = None
        if "delegations" in signed_dict:
            given = signed_dict.pop("delegations")
            delegations = Delegations.from_dict(deepcopy(given))
            _require_said_in_full(delegations.to_dict(), given)
        for path, target in raw.items():
            if not _is_plain_target(target):
                _require_said_in_full(_read_target(path, target).to_dict(), target)
        return cls(version, spec_version, expires, raw, delegations, signed_dict)

    def to_dict(self) -> Raw:
        """As ``Targets.to_dict``."""
        document = {**self._common_fields_to_dict(), "targets": raw_targets(self)}
        return document if self.delegations is None else {**document, "delegations": self.delegations.to_dict()}


class LeanSnapshot(Snapshot):
    """A snapshot whose ``meta`` is a ``LateMapping``; ``raw`` are its checked listings and is not copied.

    ``is_plain``: every listing was a positive version and nothing else when it was read or planned.
    """

    def __init__(
        self,
        version: int,
        spec_version: str,
        expires: datetime,
        raw: Raw,
        unrecognized_fields: Raw | None = None,
        *,
        is_plain: bool = False,
    ) -> None:
        late = cast("dict[str, MetaFile]", LateMapping(raw, _read_meta))
        super().__init__(version, spec_version, expires, late, unrecognized_fields)
        self.is_plain = is_plain

    @classmethod
    def from_dict(cls, signed_dict: Raw) -> "LeanSnapshot":
        """As ``Snapshot.from_dict``, with the same errors."""
        version, spec_version, expires = _common_fields(cls, signed_dict)
        raw, is_plain = signed_dict.pop("meta"), True
        for name, meta in raw.items():
            listed = meta["version"]
            if not (len(meta) == 1 and type(listed) is int and listed > 0):
                _require_said_in_full(_read_meta(name, meta).to_dict(), meta)
                is_plain = False
        return cls(version, spec_version, expires, raw, signed_dict, is_plain=is_plain)

    def to_dict(self) -> Raw:
        """As ``Snapshot.to_dict``."""
        return {**self._common_fields_to_dict(), "meta": raw_listings(self)}


def _common_fields(kind: type[Signed], signed_dict: Raw) -> tuple[int, str, datetime]:
    version, spec_version, expires = kind._common_fields_from_dict(signed_dict)
    if version is None or spec_version is None:
        raise ValueError("no version")
    return version, spec_version, expires


def _require_said_in_full(read: Raw, given: Raw) -> None:
    """Refuse what python-tuf reads as a default: it signs and verifies what it writes again, not what was there."""
    if read != given:
        raise ValueError("not as it would be written")


def integral_member(signed: Signed) -> str | None:
    """The member of ``signed`` that is known to hold no fractions (``canonical.encode``)."""
    return "meta" if isinstance(signed, LeanSnapshot) and signed.is_plain else None


def _is_plain_target(raw: Raw) -> bool:
    """Whether nothing about ``raw`` needs a second look: a length, one SHA-256, and whatever else."""
    length, hashes = raw["length"], raw["hashes"]
    return type(length) is int and length >= 0 and len(hashes) == 1 and type(hashes.get("sha256")) is str


def raw_targets(role: Targets) -> Raw:
    """The targets of ``role`` as JSON; a new dictionary."""
    late: Mapping[str, TargetFile] = role.targets
    return late.raw() if isinstance(late, LateMapping) else {path: file.to_dict() for path, file in late.items()}


def raw_listings(snapshot: Snapshot) -> Raw:
    """What ``snapshot`` lists as JSON; a new dictionary."""
    late: Mapping[str, MetaFile] = snapshot.meta
    return late.raw() if isinstance(late, LateMapping) else {name: meta.to_dict() for name, meta in late.items()}
