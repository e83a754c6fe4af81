"""Changes of who signs: what is merged, what ends, what can never come back; through the outbox and back."""

from datetime import UTC, datetime, timedelta

import pytest

from assay.formats.page_signers import parse_signers, render_signers
from assay.index.provenance.changes import (
    AddCertificate,
    AddPublisher,
    EndCertificate,
    EndPublisher,
    RevokeCertificate,
    SignerChange,
    decode_signer_change,
    encode_signer_change,
)
from assay.index.provenance.registry import MAX_ENTRIES, ChangedSigners, certificate_name, change_signers
from assay.model.digests import Sha256, sha256_of
from assay.model.errors import AlreadyExists, AssayError, CallerError, InvalidUpload, NotFound, SignerRefused
from assay.model.names import parse_project_name
from assay.model.signers import NO_SIGNERS, RegisteredPublisher, Signers, Term
from assay.provenance.identity_tokens import TrustedPublisher
from assay.provenance.openpgp import parse_certificate
from assay.provenance.publishers import OidcPublisher
from index.ledger_index import DEMO
from provenance.openpgp_makers import Gpg
from provenance_wiring.signing_index import WHEEL, SigningIndex, wheel

NOW = datetime(2024, 6, 1, tzinfo=UTC)
HUB = (("kind", "GitHub"), ("repository", "org/project"), ("workflow", "release.yml"))
OTHER = (("kind", "OIDC"), ("issuer", "https://login.example.org"), ("subject", "alice@example.org"))


class World:
    """Signers, and the files that were published with them."""

    def __init__(self) -> None:
        self.signers, self.files = NO_SIGNERS, dict[str, bytes]()
        self.now = NOW

    def change(self, change: SignerChange) -> ChangedSigners:
        """Also by way of the outbox and of a page: nothing is lost on the way."""
        change = decode_signer_change(change.project, encode_signer_change(change))
        changed = change_signers(self.signers, change, self.files.get, self.now)
        self.signers = parse_signers(render_signers(changed.signers))
        assert self.signers == changed.signers
        self.files |= changed.files
        self.now += timedelta(hours=1)
        return changed

    def refuse(self, change: SignerChange) -> AssayError:
        before = self.signers
        with pytest.raises(AssayError) as caught:
            self.change(change)
        assert self.signers == before
        return caught.value


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def certificate(gpg: Gpg) -> bytes:
    gpg.make_key("registrar", "ed25519", "sign", at="2024-05-01")
    return gpg.export("registrar")


def test_a_certificate_is_pinned_merged_and_ended(world: World, certificate: bytes) -> None:
    fingerprint = parse_certificate(certificate).fingerprint
    world.change(AddCertificate(DEMO, certificate, optional=True))
    [entry] = world.signers.certificates
    assert (entry.fingerprint, entry.term) == (fingerprint, Term(NOW, optional=True))
    assert sha256_of(world.files[certificate_name(DEMO, entry.sha256)]) == entry.sha256
    world.change(AddCertificate(DEMO, certificate, optional=False))
    assert world.signers.certificates[0].term == Term(NOW)
    world.change(EndCertificate(DEMO, fingerprint, distrust=False))
    world.change(EndCertificate(DEMO, fingerprint, distrust=True))
    [ended] = world.signers.certificates
    assert ended.term == Term(NOW, until=NOW + timedelta(hours=2), distrusted=True)
    assert world.refuse(AddCertificate(DEMO, certificate, optional=False)).rule == "certificate-ended"


def test_what_is_not_registered_cannot_end(world: World) -> None:
    unknown = "A" * 40
    assert isinstance(world.refuse(EndCertificate(DEMO, unknown, distrust=True)), NotFound)
    assert isinstance(world.refuse(RevokeCertificate(DEMO, unknown, b"")), NotFound)
    assert isinstance(world.refuse(EndPublisher(DEMO, HUB, distrust=True)), NotFound)


def test_publishers_end_return_and_are_distrusted_for_ever(world: World) -> None:
    world.change(AddPublisher(DEMO, HUB, None, optional=False))
    assert isinstance(world.refuse(AddPublisher(DEMO, HUB, None, optional=False)), AlreadyExists)
    world.change(AddPublisher(DEMO, HUB, None, optional=True))
    assert [each.term.optional for each in world.signers.publishers] == [True]
    world.change(EndPublisher(DEMO, HUB, distrust=False))
    world.change(AddPublisher(DEMO, HUB, None, optional=False))
    assert [each.term.until is None for each in world.signers.publishers] == [False, True]
    world.change(EndPublisher(DEMO, HUB, distrust=True))
    assert world.refuse(AddPublisher(DEMO, HUB, None, optional=False)).rule == "publisher-ended"


def test_a_guess_yields_to_a_choice(world: World) -> None:
    world.signers = Signers(publishers=(RegisteredPublisher(HUB, None, Term(NOW), first_seen=True),))
    assert world.signers.foretell_attestation(NOW)
    assert not world.signers.demand_attestation(NOW)
    world.now = NOW + timedelta(days=1)
    world.change(AddPublisher(DEMO, OTHER, None, optional=False))
    assert not world.signers.foretell_attestation(NOW + timedelta(days=2))
    assert world.signers.demand_attestation(NOW + timedelta(days=2))
    assert world.signers.has_chosen_publisher


def test_a_root_that_is_none_is_refused(world: World) -> None:
    assert world.refuse(AddPublisher(DEMO, HUB, b"{}", optional=False)).rule == "sigstore-root"


def test_members_that_make_no_publisher_are_refused(world: World) -> None:
    assert world.refuse(AddPublisher(DEMO, (("kind", "GitHub"),), None, optional=False)).rule == "publisher"


def test_the_number_of_signers_is_bounded(world: World) -> None:
    def member(number: int) -> tuple[tuple[str, str], ...]:
        return (*OTHER[:2], ("subject", f"user-{number}@example.org"))

    for number in range(MAX_ENTRIES):
        world.change(AddPublisher(DEMO, member(number), None, optional=False))
    assert world.refuse(AddPublisher(DEMO, member(MAX_ENTRIES), None, optional=False)).rule == "signers-full"


def test_B9_a_published_certificate_that_was_changed_stops_uploads_and_signer(
    index: SigningIndex, certificate: bytes, gpg: Gpg
) -> None:
    index.change(AddCertificate(DEMO, certificate, optional=False))
    [entry] = index.page().signers.certificates
    path = index.data.published / certificate_name(DEMO, entry.sha256)
    gpg.make_key("evil", "ed25519", "sign", at="2024-05-01")
    path.write_bytes(parse_certificate(gpg.export("evil")).data)
    with pytest.raises(SignerRefused) as caught:
        index.send(WHEEL, wheel(), signature=gpg.sign("evil", wheel(), at="2024-05-23"))
    assert caught.value.rule == "signer-pin"


def test_proposals_that_nobody_wrote_are_refused(index: SigningIndex, certificate: bytes) -> None:
    for row in (
        {"kind": "add-certificate", "data": 7, "optional": True},
        {"kind": "add-certificate", "data": "not base64", "optional": True},
        {"kind": "end-publisher", "publisher": [], "distrust": False},
        {"kind": "end-certificate", "fingerprint": "A", "distrust": "yes"},
        {"kind": "add-publisher", "publisher": {"kind": 1}, "root": None, "optional": False},
    ):
        with pytest.raises((TypeError, ValueError, KeyError, CallerError)):
            decode_signer_change(DEMO, row)


def test_a_project_that_does_not_exist_gets_no_signers(index: SigningIndex, certificate: bytes) -> None:
    with pytest.raises(NotFound):
        index.change(AddCertificate(parse_project_name("nowhere"), certificate, optional=False))


def test_a_trusted_publisher_cannot_be_anybody() -> None:
    with pytest.raises(CallerError) as caught:
        TrustedPublisher(OidcPublisher("https://login.example.org", "*"))
    assert caught.value.rule == "publisher-claims"


def test_terms_end_once_and_distrust_stays() -> None:
    term = Term(NOW).end(NOW + timedelta(days=1), distrusted=True).end(NOW + timedelta(days=9), distrusted=False)
    assert (term.until, term.distrusted) == (NOW + timedelta(days=1), True)
    assert not term.holds(NOW)


def test_B16_a_proposal_cannot_claim_other_signers_than_those_that_verify(
    index: SigningIndex, certificate: bytes, gpg: Gpg
) -> None:
    from assay.formats.pages import PageFile, file_url
    from assay.index.ledger.publications import propose
    from assay.index.proposals import ProposedFile, PublishFiles
    from assay.model.distributions import parse_distribution
    from client.small_distributions import wheel_metadata

    index.change(AddCertificate(DEMO, certificate, optional=False))
    index.blobs.store_bytes(wheel())
    index.blobs.store_bytes(wheel_metadata("demo", "1.0"))
    found = parse_distribution(WHEEL)
    entry = PageFile(
        WHEEL,
        file_url(DEMO, "1.0", WHEEL),
        sha256_of(wheel()),
        len(wheel()),
        index.now,
        core_metadata=sha256_of(wheel_metadata("demo", "1.0")),
    )
    good = index.blobs.store_bytes(gpg.sign("registrar", wheel(), at="2024-05-23"))
    bad = index.blobs.store_bytes(gpg.sign("registrar", b"other bytes", at="2024-05-23"))
    nowhere = Sha256("0" * 64)
    for signature, custom in ((None, {}), (bad, {}), (nowhere, {}), (good, {"signed_by": ["B" * 40]}), (good, {})):
        file = ProposedFile(found, entry, custom, signature)
        with index.write() as connection:
            seq = propose(connection, PublishFiles(DEMO, "upload", (file,)))
        index.sign()
        assert index.outcome(seq)[0] == "refused"
    with pytest.raises(InvalidUpload):
        index.send(WHEEL, wheel())
