"""Enrolments: a participant's statement "this key is mine", proved by a signature of that key.

Invariants: a proof holds for one plan and one name, so it cannot be replayed into another ceremony or under another
name; the marks on a key (whose it is, whether it is a rehearsal's) are inside what is proved and go into metadata with
the key; a rehearsal's key never enters a production plan. The proof's bytes begin with ``DOMAIN``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Key, Signature, Signer, SSlibKey
from tuf.api.metadata import Root

from assay.keys.ceremony.attestation import Attestation, parse_attestation
from assay.keys.ceremony.plan import Plan
from assay.keys.ceremony.stick import Stick
from assay.keys.custody import sign_bytes
from assay.model.digests import Sha256, sha256_of
from assay.model.errors import AssayError, NotFound, VerificationFailed
from assay.trust import canonical

DOMAIN: Final = b"assay-ceremony-enrolment/1\n"
FOLDER: Final = "enrolments/"
HOLDER_MARK: Final = "x-assay-holder"
REHEARSAL_MARK: Final = "x-assay-rehearsal"
SHORT_ID: Final = 12
"""So many digits of a key id tell keys apart for people."""
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A statement that was proved. Only ``parse_enrolment`` makes one. ``custody``: what the machine said of the key's
    place, for people to read; ``attestation``: what a token's maker proves of it, where there is one.
    """

    name: str
    key: Key
    made_at: datetime
    custody: Mapping[str, str]
    attestation: Attestation | None


def marked_key(key: SSlibKey, name: str, *, rehearsal: bool) -> SSlibKey:
    """``key`` as it stands in metadata: with its holder's name, and with the mark of a rehearsal."""
    marks: dict[str, Any] = {HOLDER_MARK: name} | ({REHEARSAL_MARK: True} if rehearsal else {})
    return SSlibKey(key.keyid, key.keytype, key.scheme, key.keyval, marks)


def holder_of(key: Key) -> str | None:
    """Whose key it is, as its mark in the metadata says; None for a key without a mark."""
    mark = key.unrecognized_fields.get(HOLDER_MARK)
    return mark if isinstance(mark, str) else None


def witness_of(key: Key, role: str) -> str | None:
    """The witness whose key for the online ``role`` this is; None for any other. They are marked ``<name>-<role>``."""
    name = (holder_of(key) or "").removesuffix(f"-{role}")
    return name if name and name != holder_of(key) else None


def is_rehearsal_key(key: Key) -> bool:
    """True for a key that was made to practise with."""
    return REHEARSAL_MARK in key.unrecognized_fields


def require_production_root(root: Root) -> None:
    """Raise VerificationFailed when ``root`` names a rehearsal's key: nobody must trust or publish it."""
    for key in root.keys.values():
        if is_rehearsal_key(key):
            raise VerificationFailed(
                "this root was made in a rehearsal and is worth nothing",
                subject="root",
                rule="rehearsal-key",
                found=f"the key of {holder_of(key) or key.keyid} is marked as a rehearsal's",
                next_step="hold the ceremony with the production plan",
            )


def render_enrolment(
    plan: Plan,
    signer: Signer,
    key: Key,
    now: datetime,
    custody: Mapping[str, str],
    attestation_pem: Iterable[str] = (),
) -> bytes:
    """The file of an enrolment: the statement and the proof by ``signer``. ``key`` is marked."""
    statement = {
        "plan": plan.sha256,
        "name": holder_of(key),
        "keyid": key.keyid,
        "key": key.to_dict(),
        "made_at": now.strftime(_TIME),
        "custody": dict(custody),
        "attestation": list(attestation_pem),
    }
    proof = sign_bytes(signer, DOMAIN + canonical.encode(statement))
    return orjson.dumps({"statement": statement, "proof": proof.to_dict()}, option=orjson.OPT_SORT_KEYS)


def parse_enrolment(data: bytes, plan: Plan, name: str) -> Enrolment:
    """The enrolment of ``name``. Raises VerificationFailed unless it is proved for this plan, and fits it."""
    try:
        document = orjson.loads(data)
        statement = document["statement"]
        key = SSlibKey.from_dict(statement["keyid"], dict(statement["key"]))
        made_at = datetime.strptime(statement["made_at"], _TIME).replace(tzinfo=UTC)
        custody = {str(fact): str(value) for fact, value in statement["custody"].items()}
        pem = [str(one) for one in statement["attestation"]]
        proof = Signature.from_dict(dict(document["proof"]))
        payload = DOMAIN + canonical.encode(statement)
        bound = (statement["plan"], statement["name"])
    except (ValueError, KeyError, TypeError, AttributeError, AssayError) as error:
        raise _refuse(name, "the enrolment is malformed", "enrolment", f"{type(error).__name__}: {error}") from error
    try:
        key.verify_signature(proof, payload)
    except UnverifiedSignatureError as error:
        raise _refuse(name, "whoever enrolled does not have this key", "enrolment-proof", key.keyid) from error
    if bound != (plan.sha256, name):
        raise _refuse(name, "this enrolment was made for another plan or name", "enrolment-replayed", str(bound))
    _require_fits(plan, name, key)
    attestation = parse_attestation(pem, key) if pem else None
    return Enrolment(name, key, made_at, custody, attestation)


def read_enrolments(stick: Stick, plan: Plan) -> dict[str, Enrolment]:
    """Every enrolment that the plan asks for and the stick has, by name."""
    listed = {name: f"{FOLDER}{name}.json" for name in plan.enrol}
    unasked = set(stick.names(FOLDER)) - set(listed.values())
    if unasked:
        raise _refuse(
            min(unasked), "the plan does not ask for this enrolment", "enrolment-unasked", "a file on the stick"
        )
    return {name: parse_enrolment(stick.read(file), plan, name) for name, file in listed.items() if file in stick.files}


def require_all_enrolled(plan: Plan, enrolments: Mapping[str, Enrolment]) -> None:
    """Raise NotFound naming who has not enrolled yet."""
    missing = [name for name in plan.enrol if name not in enrolments]
    if missing:
        raise NotFound(
            "not everybody has enrolled yet",
            found=f"missing: {', '.join(missing)}",
            next_step="`assay ceremony enroll` on the machine of each",
        )


def enrolment_words_digest(enrolment: Enrolment) -> Sha256:
    """What a holder and the room compare: the hash of the public key."""
    return sha256_of(canonical.encode(enrolment.key.to_dict()))


def _require_fits(plan: Plan, name: str, key: SSlibKey) -> None:
    participant = plan.participants[name]
    if holder_of(key) != name:
        raise _refuse(name, "the key is marked as somebody else's", "enrolment-replayed", str(holder_of(key)))
    if participant.key is not None and participant.key != key.keyid:
        raise _refuse(name, f"not the key that the plan names ({participant.key})", "enrolment-key", key.keyid)
    if is_rehearsal_key(key) != plan.rehearsal:
        what = "a rehearsal's key is refused in production" if is_rehearsal_key(key) else "a real key in a rehearsal"
        raise _refuse(name, what, "rehearsal-key", key.keyid)
    if key.keyid != SSlibKey.from_crypto(key._crypto_key(), scheme=key.scheme).keyid:
        raise _refuse(name, "the key id is not the key's own hash", "enrolment-key", key.keyid)


def _refuse(name: str, what: str, rule: str, found: str) -> VerificationFailed:
    return VerificationFailed(what, subject=f"enrolment of {name}", rule=rule, found=found)
