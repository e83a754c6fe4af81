"""A participant's own folder: which keys are theirs, and what they saw and signed before. It never touches the stick.

Invariants: a home never signs two contents under one version of a role, nor a lower version, unless the plan says that
it supersedes the ceremony that was broken off; it signs only what it showed; key URIs come from here alone, so nothing
on the stick can make this machine load a module or open a file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
from securesystemslib.signer import Key, SSlibKey

from assay import durable
from assay.keys.files import make_private_folder, read_private_file
from assay.model.digests import Sha256, parse_sha256
from assay.model.errors import AssayError, NotFound, OperatorError, VerificationFailed

HOME_FORMAT: Final = "assay-ceremony-home/1"
_FILE = "home.json"
_MAX_BYTES = 5_000_000


@dataclass(frozen=True, slots=True)
class OwnKey:
    """A key of this participant: where its private half is, its public half as in metadata."""

    uri: str
    key: Key


@dataclass(frozen=True, slots=True)
class Signed:
    """A role's version that was signed here: the payload's hash and the plan it was signed under."""

    version: int
    payload: Sha256
    plan: Sha256


@dataclass(frozen=True, slots=True)
class Memory:
    """What a home knows. ``signed``: newest by "<index>/<role>"; ``shown``: plan -> fingerprint; ``latest``: a time."""

    keys: Mapping[str, OwnKey]
    signed: Mapping[str, Signed]
    shown: Mapping[Sha256, Sha256]
    latest: datetime


class Home:
    """A participant's folder (mode 0700)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self) -> Memory:
        """What is known so far; of a new home: nothing. Raises OperatorError when the file is damaged."""
        path = self.folder / _FILE
        if not path.exists():
            return Memory({}, {}, {}, datetime.fromtimestamp(0, UTC))
        try:
            return _parse(orjson.loads(read_private_file(path, _MAX_BYTES)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise OperatorError("this home's file is damaged", subject=str(path), found=str(error)) from error

    def write(self, memory: Memory) -> None:
        """Keep ``memory``. Durable on return."""
        make_private_folder(self.folder)
        durable.write_file(self.folder / _FILE, _render(memory), mode=0o600)

    def add_key(self, own: OwnKey) -> None:
        """Remember a key."""
        memory = self.read()
        self.write(replace(memory, keys={**memory.keys, own.key.keyid: own}))

    def remember_shown(self, plan: Sha256, fingerprint: Sha256, now: datetime) -> None:
        """Remember that the participant was shown this fingerprint."""
        memory = self.read()
        self.write(replace(memory, shown={**memory.shown, plan: fingerprint}, latest=max(memory.latest, now)))

    def require_shown(self, plan: Sha256, fingerprint: Sha256) -> None:
        """Raise unless exactly this was shown here before."""
        shown = self.read().shown.get(plan)
        if shown is None:
            raise NotFound("nothing was shown on this machine yet", next_step="run `assay ceremony show` and read it")
        if shown != fingerprint:
            raise VerificationFailed(
                "what lies on the stick is not what this machine showed",
                rule="payload-swapped",
                expected=f"fingerprint {shown}",
                found=f"fingerprint {fingerprint}",
                next_step="stop; note it with the witness; find out who held the stick since",
            )

    def require_unsigned(self, index: str, role: str, intended: Signed, supersedes: tuple[Sha256, ...]) -> None:
        """Raise unless signing ``intended`` keeps the law: versions go up, and one version has one content."""
        before = self.read().signed.get(f"{index}/{role}")
        if before is None or before.version < intended.version or before.payload == intended.payload:
            return
        if before.version == intended.version and before.plan in supersedes:
            return
        raise VerificationFailed(
            "this machine has signed a later or another version of the role: the plan is old, or replayed",
            subject=role,
            rule="plan-replayed",
            expected=f"a version after {before.version}",
            found=f"version {intended.version}",
            next_step=f"if the ceremony of plan {before.plan} was broken off, list it in `supersedes` of a new plan",
        )

    def remember_signed(self, index: str, signed: Mapping[str, Signed], now: datetime) -> None:
        """Remember what is about to be signed: before the signature exists, so that no crash forgets one."""
        memory = self.read()
        added = {f"{index}/{role}": one for role, one in signed.items()}
        self.write(replace(memory, signed={**memory.signed, **added}, latest=max(memory.latest, now)))


def _parse(document: Mapping[str, Any]) -> Memory:
    if document["format"] != HOME_FORMAT:
        raise ValueError(f"not {HOME_FORMAT}")
    try:
        return Memory(
            keys={
                keyid: OwnKey(str(entry["uri"]), SSlibKey.from_dict(keyid, dict(entry["key"])))
                for keyid, entry in document["keys"].items()
            },
            signed={
                name: Signed(int(entry["version"]), parse_sha256(entry["payload"]), parse_sha256(entry["plan"]))
                for name, entry in document["signed"].items()
            },
            shown={parse_sha256(plan): parse_sha256(shown) for plan, shown in document["shown"].items()},
            latest=datetime.fromisoformat(document["latest"]),
        )
    except AssayError as error:
        raise ValueError(str(error)) from error


def _render(memory: Memory) -> bytes:
    document = {
        "format": HOME_FORMAT,
        "keys": {keyid: {"uri": own.uri, "key": own.key.to_dict()} for keyid, own in memory.keys.items()},
        "signed": {
            name: {"version": one.version, "payload": one.payload, "plan": one.plan}
            for name, one in memory.signed.items()
        },
        "shown": dict(memory.shown),
        "latest": memory.latest.isoformat(),
    }
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)
