"""PEP 740 attestations as they come over the wire: read strictly into types, nothing verified.

Invariant: an ``Attestation`` is well-formed, has exactly one statement about one file, one log entry with the log's
promise and its proof, and nothing besides; whether any of it is true is ``attestations.verify_attestation``'s
matter. Sources: PEP 740, in-toto Statement v1.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import orjson

from assay.model.errors import Reading, VerificationFailed
from assay.provenance.strict_json import JsonObject, load_json

MAX_ATTESTATION_BYTES: Final = 256_000
MAX_ATTESTATIONS: Final = 8
"""How many attestations may accompany one file."""

STATEMENT_V1: Final = "https://in-toto.io/Statement/v1"
_FORMAT: Final = "attestation-format"
_STATEMENT: Final = "attestation-statement"


@dataclass(frozen=True, slots=True)
class Statement:
    """An in-toto statement, the claim about one file. ``digest`` as it was written; ``predicate`` None where absent."""

    subject: str
    digest: str
    predicate_type: str
    predicate: JsonObject | None


@dataclass(frozen=True, slots=True)
class Attestation:
    """A PEP 740 attestation, read but not verified: nothing in it is true yet.

    ``document``: its JSON, canonical. ``log_entry``: the transparency log's entry as the bundle format has it.
    """

    certificate: bytes = field(repr=False)
    payload: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    log_entry: JsonObject = field(repr=False)
    log_id: bytes
    logged_at: datetime
    statement: Statement
    document: bytes = field(repr=False)


def parse_attestations(data: bytes) -> tuple[Attestation, ...]:
    """Read the ``attestations`` field of an upload: a JSON array of 1 to ``MAX_ATTESTATIONS`` attestations.

    Raises VerificationFailed: ``attestation-format``, or what ``parse_attestation`` raises.
    """
    items = load_json(data, rule=_FORMAT, max_bytes=MAX_ATTESTATIONS * MAX_ATTESTATION_BYTES)
    return tuple(read_attestation(item) for item in JsonObject({"attestations": items}, _FORMAT).objects(
        "attestations", at_most=MAX_ATTESTATIONS))  # fmt: skip


def parse_attestation(data: bytes) -> Attestation:
    """Read one attestation.

    Raises VerificationFailed: ``attestation-format``; ``attestation-several-log-entries``;
    ``attestation-log-promise`` or ``attestation-log-proof`` where the log's promise or its proof of inclusion is
    missing.
    """
    return read_attestation(JsonObject.of(load_json(data, rule=_FORMAT, max_bytes=MAX_ATTESTATION_BYTES), rule=_FORMAT))


def read_attestation(document: JsonObject) -> Attestation:
    """``parse_attestation`` for JSON that was loaded strictly as part of something larger."""
    document.only("version", "verification_material", "envelope")
    if document.number("version") != 1:
        raise VerificationFailed(
            "an attestation of another version", rule=_FORMAT, expected="1", found=str(document.number("version"))
        )
    material, envelope = document.object("verification_material"), document.object("envelope")
    material.only("certificate", "transparency_entries")
    envelope.only("statement", "signature")
    entries = material.objects("transparency_entries", at_most=10)
    if len(entries) != 1:
        raise VerificationFailed(
            "several log entries: which one counts would depend on the reader",
            rule="attestation-several-log-entries",
            expected="exactly one",
            found=str(len(entries)),
            reading=Reading.EITHER,
        )
    canonical = orjson.dumps(document.values, option=orjson.OPT_SORT_KEYS)
    if len(canonical) > MAX_ATTESTATION_BYTES:
        raise VerificationFailed("the attestation is too large", rule=_FORMAT, found=f"{len(canonical)} bytes")
    payload = envelope.base64("statement")
    return Attestation(
        certificate=material.base64("certificate"),
        payload=payload,
        signature=envelope.base64("signature"),
        log_entry=entries[0],
        log_id=entries[0].object("logId").base64("keyId"),
        logged_at=_logged_at(entries[0]),
        statement=_parse_statement(payload),
        document=canonical,
    )


def _logged_at(entry: JsonObject) -> datetime:
    """The time of the log's signed promise, once it is clear that promise and proof are there at all."""
    promise, proof = entry.optional_object("inclusionPromise"), entry.optional_object("inclusionProof")
    if (
        promise is None
        or not promise.optional_text("signedEntryTimestamp")
        or not entry.optional_text("integratedTime")
    ):
        raise VerificationFailed(
            "the transparency log never promised to take the attestation in",
            rule="attestation-log-promise",
            expected="an inclusion promise with its time",
            next_step="attest again with a Rekor v1 log: PEP 740 has no place for the timestamps of v2 logs",
        )
    if proof is None or proof.optional_object("checkpoint") is None:
        raise VerificationFailed(
            "no proof that the transparency log contains the attestation",
            rule="attestation-log-proof",
            expected="an inclusion proof with a checkpoint",
        )
    text = entry.text("integratedTime")
    if not text.isascii() or not text.isdigit() or len(text) > 10:  # ten digits last until 2286
        raise VerificationFailed("not a time", rule=_FORMAT, subject=entry.path("integratedTime"), found=text[:80])
    return datetime.fromtimestamp(int(text), UTC)


def _parse_statement(payload: bytes) -> Statement:
    document = JsonObject.of(
        load_json(payload, rule=_STATEMENT, max_bytes=MAX_ATTESTATION_BYTES), rule=_STATEMENT, where="statement"
    )
    document.only("_type", "subject", "predicateType", "predicate")
    if document.text("_type") != STATEMENT_V1:
        raise VerificationFailed("not an in-toto v1 statement", rule=_STATEMENT, found=document.text("_type")[:80])
    subjects = document.objects("subject", at_most=100)
    if len(subjects) != 1:
        raise VerificationFailed(
            "a statement about several files", rule=_STATEMENT, expected="exactly one", found=str(len(subjects))
        )
    return Statement(
        subject=subjects[0].text("name"),
        digest=subjects[0].object("digest").text("sha256"),
        predicate_type=document.text("predicateType"),
        predicate=document.optional_object("predicate"),
    )
