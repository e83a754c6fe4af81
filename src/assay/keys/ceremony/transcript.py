"""The transcript: one file for each step, each naming the hash of the one before, sealed by the key that took part.

Invariants: an entry says time, operator, machine, the hashes of what was read and of what was written, and exceptions
in plain words; a changed byte breaks the chain; a chain written anew lacks the seals and countersignatures, which only
the participants' keys make. Seals are over bytes that begin with ``DOMAIN``, so none can pass as TUF metadata.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Key, Signature, Signer

from assay.keys.ceremony.stick import Stick, digest_of_files
from assay.keys.ceremony.surroundings import Surroundings, require_clock
from assay.keys.custody import sign_bytes
from assay.model.digests import Sha256, parse_sha256, sha256_of
from assay.model.errors import AssayError, VerificationFailed
from assay.trust import canonical

DOMAIN: Final = b"assay-ceremony-transcript/1\n"
FOLDER: Final = "transcript/"
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class Step:
    """What a step wants to say of itself. ``inputs``: names on the stick that it read; ``facts``: short plain texts."""

    name: str
    inputs: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    exceptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. ``body`` is what seals are over; ``sha256`` of the whole file is what the next entry names."""

    number: int
    previous: Sha256 | None
    time: datetime
    step: str
    operator: str
    machine: str
    inputs: Mapping[str, Sha256]
    outputs: Mapping[str, Sha256]
    facts: Mapping[str, str]
    exceptions: tuple[str, ...]
    seals: tuple[Signature, ...]
    body: bytes
    sha256: Sha256


def record(
    stick: Stick, surroundings: Surroundings, step: Step, outputs: Mapping[str, bytes], seal: Signer | None = None
) -> Entry:
    """Write ``outputs`` and the entry that tells of them, all at once. ``seal``: the key of the person who acts."""
    before = read_transcript(stick)
    if before:
        require_clock(surroundings.now, before[-1].time, None, "the last step in the transcript")
    body = {
        "number": len(before) + 1,
        "previous": before[-1].sha256 if before else None,
        "time": surroundings.now.strftime(_TIME),
        "step": step.name,
        "operator": surroundings.operator,
        "machine": surroundings.machine,
        "inputs": {name: stick.files[name].sha256 for name in step.inputs},
        "outputs": digest_of_files(outputs),
        "facts": dict(step.facts),
        "exceptions": list(step.exceptions),
    }
    seals = [sign_bytes(seal, DOMAIN + canonical.encode(body))] if seal else []
    data = _render({"body": body, "seals": [one.to_dict() for one in seals]})
    entry = parse_entry(step.name, data)
    stick.write({**outputs, entry_name(entry): data})
    return entry


def entry_name(entry: Entry) -> str:
    """Where an entry lies on the stick."""
    return f"{FOLDER}{entry.number:04d}-{entry.step}.json"


def read_transcript(stick: Stick) -> tuple[Entry, ...]:
    """The entries in order. Raises VerificationFailed naming the entry where the chain breaks."""
    entries: list[Entry] = []
    for name in stick.names(FOLDER):
        entry = parse_entry(name, stick.read(name))
        expected = entries[-1].sha256 if entries else None
        if entry.number != len(entries) + 1 or entry.previous != expected:
            raise VerificationFailed(
                "the transcript's chain is broken here: an entry before it was edited, added or removed",
                subject=name,
                rule="transcript-chain",
                expected=f"entry {len(entries) + 1} after {expected}",
                found=f"entry {entry.number} after {entry.previous}",
            )
        entries.append(entry)
    return tuple(entries)


def sealed_by(entry: Entry, keys: Sequence[Key]) -> tuple[Key, ...]:
    """The keys that sealed ``entry``. Raises VerificationFailed for a seal that does not verify or is nobody's."""
    found = []
    known = {key.keyid: key for key in keys}
    for seal in entry.seals:
        key = known.get(seal.keyid)
        try:
            if key is None:
                raise UnverifiedSignatureError("nobody in this ceremony has that key")
            key.verify_signature(seal, DOMAIN + entry.body)
        except UnverifiedSignatureError as error:
            raise VerificationFailed(
                "this entry of the transcript was changed after it was sealed",
                subject=f"entry {entry.number} ({entry.step})",
                rule="transcript-seal",
                found=str(error),
            ) from error
        found.append(key)
    return tuple(found)


def _render(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def parse_entry(name: str, data: bytes) -> Entry:
    """Read one entry. Raises VerificationFailed, naming ``name``, unless it is as it was written."""
    try:
        document = orjson.loads(data)
        body, seals = document["body"], document["seals"]
        if _render({"body": body, "seals": seals}) != data or set(document) != {"body", "seals"}:
            raise ValueError("not in the form in which it was written")
        return Entry(
            number=int(body["number"]),
            previous=parse_sha256(body["previous"]) if body["previous"] is not None else None,
            time=datetime.strptime(body["time"], _TIME).replace(tzinfo=UTC),
            step=str(body["step"]),
            operator=str(body["operator"]),
            machine=str(body["machine"]),
            inputs={str(key): parse_sha256(value) for key, value in body["inputs"].items()},
            outputs={str(key): parse_sha256(value) for key, value in body["outputs"].items()},
            facts={str(key): str(value) for key, value in body["facts"].items()},
            exceptions=tuple(str(line) for line in body["exceptions"]),
            seals=tuple(Signature.from_dict(dict(seal)) for seal in seals),
            body=canonical.encode(body),
            sha256=sha256_of(data),
        )
    except (ValueError, KeyError, TypeError, AttributeError, AssayError) as error:
        raise VerificationFailed(
            "an entry of the transcript is malformed",
            subject=name,
            rule="transcript-entry",
            found=f"{type(error).__name__}: {error}",
        ) from error
