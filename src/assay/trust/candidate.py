"""What travels between an index and its witnesses: a publication to be co-signed, and the answer. Pure.

Every metadata file travels as the text that will be served, so that a witness judges the very bytes that clients get.
Unknown fields are refused: the two sides run the same format, or say that they do not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import orjson
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Signature, Signer
from tuf.api.metadata import MetaFile, Root, Timestamp

from assay.model.digests import Sha256, parse_sha256, sha256_of
from assay.model.errors import AssayError, VerificationFailed, WitnessRefused
from assay.trust import canonical
from assay.trust.envelope import assemble
from assay.trust.layout import SNAPSHOT, SPEC_VERSION, TargetPath
from assay.trust.log.checkpoint import LogHead
from assay.trust.log.identity import state_head, stated_head
from assay.trust.log.note import NoteSignature
from assay.trust.log.tree import HASH_BYTES, MAX_SIZE, Hash

CANDIDATE_FORMAT: Final = "assay-candidate/1"
ANSWER_FORMAT: Final = "assay-cosignatures/1"
BODY_CLAIM: Final = "Assay-Candidate"
"""The header that says whose body follows."""

MAX_ANSWER_BYTES: Final = 32_000_000
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"

_REFUSAL: Final = ("what", "rule", "subject", "expected", "found", "next_step")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the timestamp will say beside the snapshot file's hash, which depends on who co-signs it.

    ``log``: the newest head of the log, where the index keeps one.
    """

    version: int
    expires: datetime
    log: LogHead | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        log = {"size": self.log.size, "root": self.log.root.hex()} if self.log else None
        return {"version": self.version, "expires": self.expires.astimezone(UTC).strftime(_TIME), "log": log}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "Stamp":
        """The inverse of ``to_dict``. Raises KeyError, TypeError, ValueError."""
        log, expires = document["log"], datetime.strptime(document["expires"], _TIME).replace(tzinfo=UTC)
        head = None if log is None else LogHead(_natural(log["size"]), _hash(log["root"]))
        return cls(_positive(document["version"]), expires, head)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A publication under root ``root_version``.

    ``roots``: newer roots, oldest first; ``roles``: the files of every role that changed, signed by everybody but the
    witnesses; ``snapshot``: its file, signed by the index.

    ``removed``: files that leave for good, path -> sha256. ``log_proof``: that the stamp's log continues the one of
    ``log_from`` entries (RFC 9162). ``cosignatures``: the other witnesses' signatures of the snapshot, where more than
    one is needed: only then can anybody say what the timestamp is (the second round).
    """

    root_version: int
    roots: tuple[bytes, ...]
    roles: Mapping[str, bytes]
    snapshot: bytes
    stamp: Stamp
    removed: Mapping[TargetPath, Sha256] = field(default_factory=dict)
    log_from: int = 0
    log_proof: tuple[Hash, ...] = ()
    cosignatures: tuple[Signature, ...] = ()


@dataclass(frozen=True, slots=True)
class Cosignatures:
    """A witness's yes: a signature of each role's payload, ``snapshot`` among them; ``timestamp`` where it is clear.

    ``checkpoint``: its line under the log's checkpoint (C2SP tlog-cosignature), where the log names its key.
    """

    roles: Mapping[str, Signature]
    timestamp: Signature | None
    checkpoint: NoteSignature | None = None


@dataclass(frozen=True, slots=True)
class Lacking:
    """What a witness has not seen yet and needs to judge: role -> version; for ``root`` that version and all later.

    ``log_from``: the size of the log from which on it needs the proof.
    """

    roles: Mapping[str, int]
    log_from: int = 0


Answer = Cosignatures | Lacking


def cosigned(data: bytes, signatures: Sequence[Signature]) -> bytes:
    """The metadata file ``data`` with ``signatures`` after those it has. Index and witness write the same bytes."""
    document = orjson.loads(data)
    given = [Signature.from_dict(entry) for entry in document["signatures"]]
    return assemble(document["signed"], [*given, *signatures])


def timestamp_of(stamp: Stamp, snapshot_version: int, snapshot: bytes) -> Timestamp:
    """The timestamp that names the complete ``snapshot`` file. Index and witness write the same bytes."""
    meta = MetaFile(snapshot_version, len(snapshot), {"sha256": sha256_of(snapshot)})
    timestamp = Timestamp(stamp.version, SPEC_VERSION, stamp.expires, meta)
    if stamp.log is not None:
        state_head(timestamp, stamp.log)
    return timestamp


def stamp_of(timestamp: Timestamp) -> Stamp:
    """The part of ``timestamp`` that does not depend on who co-signs."""
    return Stamp(timestamp.version, timestamp.expires, stated_head(timestamp))


def encode_candidate(candidate: Candidate) -> bytes:
    """``candidate`` as JSON."""
    return orjson.dumps(
        {
            "format": CANDIDATE_FORMAT,
            "root_version": candidate.root_version,
            "roots": [data.decode() for data in candidate.roots],
            "roles": {role: data.decode() for role, data in candidate.roles.items()},
            "snapshot": candidate.snapshot.decode(),
            "timestamp": candidate.stamp.to_dict(),
            "removed": dict(candidate.removed),
            "log_from": candidate.log_from,
            "log_proof": [one.hex() for one in candidate.log_proof],
            "cosignatures": [signature.to_dict() for signature in candidate.cosignatures],
        }
    )


def decode_candidate(data: bytes) -> Candidate:
    """The inverse of ``encode_candidate``. Raises VerificationFailed."""

    def read(document: dict[str, Any]) -> Candidate:
        return Candidate(
            root_version=_positive(document.pop("root_version")),
            roots=tuple(_text(text) for text in document.pop("roots")),
            roles={_name(role): _text(text) for role, text in document.pop("roles").items()},
            snapshot=_text(document.pop("snapshot")),
            stamp=Stamp.from_dict(document.pop("timestamp")),
            removed={TargetPath(path): parse_sha256(sha256) for path, sha256 in document.pop("removed").items()},
            log_from=_natural(document.pop("log_from")),
            log_proof=tuple(_hash(one) for one in document.pop("log_proof")),
            cosignatures=tuple(Signature.from_dict(entry) for entry in document.pop("cosignatures")),
        )

    return _decode(data, CANDIDATE_FORMAT, "candidate", read)


def render_body_claim(body: bytes, signer: Signer) -> str:
    """A header's value: the index says, before the body comes, that it is its own. ``signer``: its snapshot key."""
    digest = sha256_of(body)
    signature = signer.sign(_body_claim(digest, len(body)))
    return f"{signature.keyid} {digest} {signature.signature}"


def verify_body_claim(value: str, length: int, root: Root) -> Sha256 | None:
    """The hash of a body of ``length`` bytes that a snapshot key of ``root`` announces; None where none does."""
    keyid, _, rest = value.partition(" ")
    digest, _, signature = rest.partition(" ")
    if keyid not in root.roles[SNAPSHOT].keyids:
        return None
    try:
        announced = parse_sha256(digest)
        root.keys[keyid].verify_signature(Signature(keyid, signature), _body_claim(announced, length))
    except (AssayError, UnverifiedSignatureError, ValueError):
        return None
    return announced


def _body_claim(sha256: Sha256, length: int) -> bytes:
    return canonical.encode({"_type": "assay-candidate", "sha256": sha256, "length": length})


def encode_answer(answer: Answer) -> bytes:
    """``answer`` as JSON."""
    if isinstance(answer, Lacking):
        return orjson.dumps({"format": ANSWER_FORMAT, "lacking": dict(answer.roles), "log_from": answer.log_from})
    document = {
        "format": ANSWER_FORMAT,
        "roles": {role: signature.to_dict() for role, signature in answer.roles.items()},
        "timestamp": answer.timestamp.to_dict() if answer.timestamp else None,
        "checkpoint": _line_to_dict(answer.checkpoint) if answer.checkpoint else None,
    }
    return orjson.dumps(document)


def encode_refusal(error: AssayError) -> bytes:
    """A witness's no, with the rule that it names."""
    facts = {name: getattr(error, name) for name in _REFUSAL}
    return orjson.dumps({"format": ANSWER_FORMAT, "refused": facts})


def decode_answer(data: bytes) -> Answer:
    """The inverse of ``encode_answer``. Raises WitnessRefused for a refusal, VerificationFailed for what is neither."""

    def read(document: dict[str, Any]) -> Answer | WitnessRefused:
        if "refused" in document:
            return _refusal(document.pop("refused"))
        if "lacking" in document:
            lacking = {_name(role): _positive(version) for role, version in document.pop("lacking").items()}
            return Lacking(lacking, _natural(document.pop("log_from")))
        timestamp, line = document.pop("timestamp"), document.pop("checkpoint")
        roles = {_name(role): Signature.from_dict(entry) for role, entry in document.pop("roles").items()}
        checkpoint = None if line is None else _line_from_dict(line)
        return Cosignatures(roles, None if timestamp is None else Signature.from_dict(timestamp), checkpoint)

    answer = _decode(data, ANSWER_FORMAT, "a witness's answer", read)
    if isinstance(answer, WitnessRefused):
        raise answer
    return answer


def _refusal(facts: Mapping[str, object]) -> WitnessRefused:
    said = {name: None if facts[name] is None else str(facts[name])[:2000] for name in _REFUSAL}
    return WitnessRefused(
        said["what"] or "no reason given",
        rule=said["rule"],
        subject=said["subject"],
        expected=said["expected"],
        found=said["found"],
        next_step=said["next_step"],
    )


def _decode(data: bytes, expected: str, subject: str, read: Callable[[dict[str, Any]], T]) -> T:
    try:
        document = orjson.loads(data)
        if document.pop("format") != expected:
            raise ValueError("another format")
        value = read(document)
        if document:
            raise ValueError(f"unknown field {min(document)!r}")
    except (AssayError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise VerificationFailed(
            "not in the format that index and witnesses speak",
            subject=subject,
            rule="malformed",
            expected=expected,
            found=f"{type(error).__name__}: {error}"[:300],
            next_step="run the same release of Assay on the index and on its witnesses",
        ) from error
    return value


def _text(value: object) -> bytes:
    if not isinstance(value, str):
        raise TypeError("a file is text")
    return value.encode()


def _name(value: object) -> str:
    if not isinstance(value, str) or not value or "/" in value or len(value) > 200:
        raise ValueError("not a role's name")
    return value


def _positive(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError("not a version")
    return value


def _line_to_dict(line: NoteSignature) -> dict[str, str]:
    return {"name": line.name, "key_id": line.key_id.hex(), "signature": line.signature.hex()}


def _line_from_dict(document: Mapping[str, Any]) -> NoteSignature:
    key_id, signature = bytes.fromhex(document["key_id"]), bytes.fromhex(document["signature"])
    return NoteSignature(str(document["name"]), key_id, signature)


def _natural(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_SIZE:
        raise ValueError("not a size")
    return value


def _hash(value: object) -> Hash:
    if not isinstance(value, str) or len(value) != 2 * HASH_BYTES:
        raise ValueError("not a hash")
    return Hash(bytes.fromhex(value))
