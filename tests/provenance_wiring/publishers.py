"""Publishers of the company whose forge attests the releases of ``demo``."""

from assay.index.provenance.registry import publisher_members
from assay.model.digests import sha256_of
from assay.model.signers import PublisherMembers
from assay.provenance.identities import SignerIdentity
from assay.provenance.own_root.attest import render_statement
from assay.provenance.publishers import GitLabPublisher, OidcPublisher, render_publisher
from assay.provenance.slsa import SLSA_V1
from provenance.own_root_world import WORKFLOW, Organisation
from provenance_wiring.signing_index import WHEEL, SigningIndex, wheel

FORGE = GitLabPublisher("org/project", "ci.yml", owner_id="3", repository_id="7", server="https://git.example.org")
PERSON = OidcPublisher("https://login.example.org", "alice@example.org")


def members(publisher: GitLabPublisher | OidcPublisher) -> PublisherMembers:
    return publisher_members(dict(render_publisher(publisher)))


def attest(
    index: SigningIndex,
    company: Organisation,
    identity: SignerIdentity = WORKFLOW,
    *,
    filename: str = WHEEL,
    data: bytes | None = None,
    slsa: dict[str, object] | None = None,
) -> bytes:
    kind = {"predicate_type": SLSA_V1, "predicate": slsa} if slsa is not None else {}
    statement = render_statement(filename, sha256_of(data if data is not None else wheel()), **kind)  # type: ignore[arg-type]
    return company.attest(identity, statement=statement, now=index.now)
