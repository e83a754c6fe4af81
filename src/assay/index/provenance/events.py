"""Events about signatures, written in the transaction of what they tell of; the log carries them."""

from datetime import datetime

from sqlalchemy import Connection

from assay.index.ledger import accounts
from assay.index.ledger.publications import propose
from assay.index.provenance.changes import SignerChange, change_facts
from assay.index.provenance.desk import Accompanied
from assay.model.names import ProjectName

SIGNATURE_ACCEPTED = "signature-accepted"
ATTESTATIONS_ACCEPTED = "attestations-accepted"


def record_evidence(
    connection: Connection, actor: str, now: datetime, project: ProjectName, filename: str, came: Accompanied
) -> None:
    """Tell what came beside a file, who signed it, and against what it was verified."""
    signature = came.evidence.signature
    if signature is not None:
        accounts.record_event(
            connection,
            SIGNATURE_ACCEPTED,
            actor,
            now,
            project,
            filename=filename,
            sha256=came.signature,
            certificate=signature.certificate,
            key=signature.key,
            signed_at=signature.signed_at.isoformat(),
        )
    if came.evidence.attestations:
        first = came.evidence.attestations[0]
        accounts.record_event(
            connection,
            ATTESTATIONS_ACCEPTED,
            actor,
            now,
            project,
            filename=filename,
            sha256=came.provenance,
            publishers=list(came.evidence.attested_by),
            predicates=[each.predicate_type for each in came.evidence.attestations],
            root=first.trust,
            root_sha256=first.root,
        )


def propose_change(connection: Connection, change: SignerChange, actor: str, now: datetime) -> int:
    """Put a change of a project's signers in the outbox, with its event; returns its number in line."""
    facts = change_facts(change)
    kind = f"{facts.pop('change')}-proposed"
    accounts.record_event(connection, kind, actor, now, change.project, **facts)
    return propose(connection, change)
