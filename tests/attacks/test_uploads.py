"""Threats B1-B8 and B16-B19: what uploaders, insiders and a broken web process try, and what stays as it was."""

import asyncio
import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from assay.client.registry import Bundle, Registry
from assay.client.trusted_index import TrustedIndex
from assay.fetch import Fetcher
from assay.formats.pages import PageFile, file_url
from assay.formats.upload_checks import UploadPolicy
from assay.index import states
from assay.index.handover import hand_over
from assay.index.ledger import accounts, publishers
from assay.index.ledger.publications import propose
from assay.index.ledger.schema import events, files, outbox, projects, tokens
from assay.index.oidc.issuers import IssuerKeys
from assay.index.oidc.mint import MintedToken, TokenMint
from assay.index.proposals import ProposedFile, PublishFiles
from assay.index.registration import Rules
from assay.index.sealing import plan_sealing
from assay.index.web.cache import PublishedCache
from assay.index.web.catalogue import PublishedCatalogue
from assay.index.web.services import WebServices
from assay.keys.offline_draft import OfflineDraft
from assay.keys.sealing import sign_seal
from assay.model.digests import Sha256, sha256_of
from assay.model.distributions import parse_distribution
from assay.model.errors import (
    AlreadyExists,
    AssayError,
    CallerError,
    InvalidDistribution,
    NotAllowed,
    VerificationFailed,
)
from assay.model.names import parse_project_name
from assay.model.permissions import Action, Principal
from assay.provenance.identity_tokens import TrustedPublisher
from assay.provenance.publishers import GitHubPublisher
from assay.trust.layout import Lifetimes, metadata_path
from client.small_distributions import build_wheel, wheel_metadata
from index.ledger_index import DEMO, LedgerIndex, wheel_name
from index.web.running import running
from support.issuer import running_issuer

WHEEL = wheel_name("demo", "1.0")
EVIL = build_wheel("demo", "1.0", files={"evil.py": b"print('evil')\n"})

pytestmark = pytest.mark.refuses("signed")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[LedgerIndex]:
    made = LedgerIndex(tmp_path / "index")
    yield made
    made.ledger.close()


@pytest.fixture
def alice(index: LedgerIndex) -> Principal:
    principal = index.user("alice")
    index.publish("demo", "1.0", principal)
    return principal


def forged(index: LedgerIndex, data: bytes, filename: str = WHEEL, **changes: object) -> PublishFiles:
    """A proposal as a broken-into web process can write it: no admission was asked."""
    distribution = parse_distribution(filename)
    sha256 = index.blobs.store_bytes(data)
    entry = PageFile(
        filename=filename,
        url=file_url(distribution.project, distribution.version, filename),
        sha256=sha256,
        size=len(data),
        upload_time=index.now,
        core_metadata=sha256_of(wheel_metadata(distribution.project, distribution.version)),
    )
    file = ProposedFile(distribution, replace(entry, **changes), {"uploader": "mallory"})  # type: ignore[arg-type]
    return PublishFiles(distribution.project, "upload", (file,))


def refused_by_signer(index: LedgerIndex, proposal: PublishFiles) -> str:
    """Propose behind admission's back, forget what the ledger knows, let the signer decide; returns its reason."""
    before = index.page().files if index.state().page(DEMO) else ()
    with index.write() as connection:
        connection.execute(delete(files).where(files.c.project == proposal.project))
        if accounts.find_project(connection, proposal.project) is None:
            accounts.create_project(connection, proposal.project, "mallory", index.now)
        seq = propose(connection, proposal)
    index.sign()
    state, reason = index.outcome(seq)
    assert state == "refused"
    assert (index.page().files if index.state().page(DEMO) else ()) == before
    return str(reason)


# B1, through a running index with an upstream: tests/e2e/test_upstream.py


def test_B1_a_private_name_that_nobody_uploaded_yet_is_not_the_upstreams(index: LedgerIndex) -> None:
    with index.write() as connection:
        accounts.create_project(connection, parse_project_name("inhouse"), "boss", index.now, private=True)
    with index.ledger.read() as connection:
        row = accounts.find_project(connection, parse_project_name("inhouse"))
    assert row is not None
    assert row.private
    stranger = index.user("mallory")
    with pytest.raises(NotAllowed) as refusal:
        index.admit(build_wheel("inhouse", "1.0"), wheel_name("inhouse", "1.0"), stranger)
    assert refusal.value.rule == "no-role"


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("dem0", "name-confusable"),
        ("d.e.m.o", "name-confusable"),
        ("d_emo", "name-confusable"),
        ("asyncio", "name-standard-library"),
        ("Json", "name-standard-library"),
        ("distutils", "name-standard-library"),
        ("compression", "name-standard-library"),
    ],
)
def test_B2_a_name_that_looks_like_another_is_refused(
    index: LedgerIndex, alice: Principal, name: str, rule: str
) -> None:
    mallory = index.user("mallory")
    filename = f"{name.replace('.', '_')}-1.0-py3-none-any.whl"
    with pytest.raises(NotAllowed) as refusal:
        index.admit(build_wheel(name, "1.0"), filename, mallory)
    assert refusal.value.rule == rule


def test_B2_a_name_that_only_resembles_is_accepted(index: LedgerIndex, alice: Principal) -> None:
    index.publish("demolition", "1.0", index.user("bob"))


def test_B3_a_taken_over_account_leaves_its_traces_in_the_log(index: LedgerIndex, alice: Principal) -> None:
    token = index.token("alice")
    index.publish("demo", "2.0", index.principal(token))
    kinds = [event["actor"] for event in index.events("token-created")]
    assert len(kinds) == 3
    with index.ledger.read() as connection:
        logged = connection.execute(select(events.c.publication).where(events.c.kind == "token-created")).scalars()
        assert all(publication is not None for publication in logged)


@pytest.mark.parametrize("text", ["hunter2", "assay_" + "a" * 58, "", "assay_"])
def test_B3_a_password_is_no_credential_for_uploads(index: LedgerIndex, alice: Principal, text: str) -> None:
    with pytest.raises(NotAllowed):
        index.principal(text)


def test_B4_a_leaked_token_reaches_its_own_project_until_it_expires_or_is_revoked(
    index: LedgerIndex, alice: Principal
) -> None:
    index.publish("other", "1.0", alice)
    text = index.token("alice", projects=["demo"], expires=index.now + timedelta(hours=1))
    leaked = index.principal(text)
    index.publish("demo", "2.0", leaked)
    for name in ("other", "brandnew"):
        with pytest.raises(NotAllowed):
            index.admit(build_wheel(name, "2.0"), wheel_name(name, "2.0"), leaked)
    with pytest.raises(AlreadyExists):
        index.admit(EVIL, WHEEL, leaked)
    with index.write() as connection:
        accounts.revoke_token(connection, leaked.authenticated.removeprefix("token:"), "boss", index.now)
    with pytest.raises(NotAllowed, match="revoked"):
        index.principal(text)
    short = index.token("alice", expires=index.now + timedelta(hours=1))
    index.later(hours=1)
    with pytest.raises(NotAllowed, match="expired"):
        index.principal(short)


def test_B4_a_token_is_nowhere_on_the_disk_and_a_read_token_uploads_nothing(
    index: LedgerIndex, alice: Principal
) -> None:
    text = index.token("alice", actions=frozenset({Action.READ}))
    with pytest.raises(NotAllowed):
        index.admit(build_wheel("demo", "2.0"), wheel_name("demo", "2.0"), index.principal(text))
    with index.ledger.read() as connection:
        assert text not in repr(connection.execute(select(tokens)).all())
        assert text not in repr(connection.execute(select(events)).all())


def test_B5_a_closed_release_takes_no_file(index: LedgerIndex, alice: Principal) -> None:
    more_specific = "demo-1.0-py3-none-manylinux_2_28_x86_64.whl"
    index.later(days=14)
    index.sign()
    with pytest.raises(NotAllowed, match="closed"):
        index.admit(build_wheel("demo", "1.0"), more_specific, alice)
    assert "closed" in refused_by_signer(index, forged(index, _retagged(), more_specific))


@pytest.mark.parametrize("spelling", ["1", "1.0.0", "1.0.0.0", "1.0+cuda"])
def test_B5_another_spelling_of_the_version_does_not_join_a_closed_release(
    index: LedgerIndex, alice: Principal, spelling: str
) -> None:
    index.admission = replace(index.admission, rules=Rules(policy=UploadPolicy(allow_local_versions=True)))
    name, data = wheel_name("demo", spelling), build_wheel("demo", spelling)
    index.later(days=14)
    index.sign()
    with pytest.raises(NotAllowed, match="closed"):
        index.admit(data, name, alice)
    assert "closed" in refused_by_signer(index, forged(index, data, name))
    index.publish("demo", "1.0.1", alice)


@pytest.mark.parametrize("spelling", ["1", "1.0.0", "1.0+cuda"])
def test_B5_a_client_refuses_what_joined_a_sealed_release_under_another_spelling(tmp_path: Path, spelling: str) -> None:
    """The thief holds every online key, so that the index itself signs whatever they want."""
    index = LedgerIndex(tmp_path / "index", rules=Rules(UploadPolicy(allow_local_versions=True), (), timedelta(999)))
    alice = index.user("alice")
    index.publish("demo", "1.0", alice)
    index.later(days=14)
    plan_sealing(index.data, tmp_path / "draft", index.now)
    draft = OfflineDraft(tmp_path / "draft")
    draft.sign(str(index.data.keys.path("targets")), lambda _: "", sign_seal(draft, index.now, Lifetimes()).bodies)
    hand_over(draft, index.data, index.now)
    index.sign()
    index.publish("demo", spelling, alice)
    index.publish("demo", "1.0.1", alice)

    async def install(url: str, version: str) -> Path:
        root = index.published.read(metadata_path("root", 1)) or b""
        entry = Registry(tmp_path / "indexes" / version).add(Bundle(url, root), index.now)
        async with Fetcher() as fetcher:
            client = TrustedIndex(entry.url, entry.store, tmp_path / "files", fetcher, lambda: index.now)
            await client.refresh()
            return (await client.file(parse_distribution(wheel_name("demo", version)))).path

    with running(services_of(index)) as web:
        for version in ("1.0", "1.0.1"):
            assert asyncio.run(install(web.url, version)).exists()
        with pytest.raises(VerificationFailed) as refusal:
            asyncio.run(install(web.url, spelling))
        assert refusal.value.rule == "release-closed"
    index.ledger.close()


def services_of(index: LedgerIndex) -> WebServices:
    """What readers need."""

    def nobody(*_: object) -> Any:
        raise AssertionError("this index is only read")

    catalogue = PublishedCatalogue(index.published, PublishedCache(1_000_000))
    return WebServices(
        index.published, index.blobs, catalogue, index.data.incoming, nobody, nobody, nobody, "sha256:" + "0" * 64
    )


def _retagged() -> bytes:
    """A wheel of demo 1.0 whose WHEEL says the more specific tag."""
    source = zipfile.ZipFile(io.BytesIO(build_wheel("demo", "1.0")))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        for info in source.infolist():
            target.writestr(info, source.read(info).replace(b"py3-none-any", b"py3-none-manylinux_2_28_x86_64"))
    return out.getvalue()


@pytest.mark.parametrize("data", [build_wheel("demo", "1.0"), EVIL], ids=["same-bytes", "other-bytes"])
def test_B6_a_removed_filename_never_returns(index: LedgerIndex, alice: Principal, data: bytes) -> None:
    with index.write() as connection:
        states.remove_files(connection, DEMO, WHEEL, "mistake", "boss", index.now)
    index.sign()
    with pytest.raises(CallerError, match="never returns"):
        index.admit(data, WHEEL, alice)
    assert "never returns" in refused_by_signer(index, forged(index, data))
    assert index.vouched("demo", "1.0") is None


def test_B7_a_removed_projects_name_is_nobodys_again(index: LedgerIndex, alice: Principal) -> None:
    with index.write() as connection:
        states.remove_project(connection, DEMO, "abandoned", "boss", index.now)
    index.sign()
    assert index.page().files == ()
    assert index.vouched("demo", "1.0") is None
    for principal in (alice, index.user("mallory")):
        with pytest.raises(NotAllowed) as refusal:
            index.admit(build_wheel("demo", "2.0"), wheel_name("demo", "2.0"), principal)
        assert refusal.value.rule == "project-removed"
    with pytest.raises(NotAllowed), index.write() as connection:
        accounts.create_project(connection, DEMO, "mallory", index.now)


def test_B7_the_signer_refuses_although_the_database_forgot_the_project(index: LedgerIndex, alice: Principal) -> None:
    with index.write() as connection:
        states.remove_project(connection, DEMO, "abandoned", "boss", index.now)
    index.sign()
    with index.write() as connection:
        connection.execute(update(projects).values(status="active"))
    reason = refused_by_signer(index, forged(index, build_wheel("demo", "2.0"), wheel_name("demo", "2.0")))
    assert "removed" in reason


def test_B8_an_insider_cannot_replace_a_file(index: LedgerIndex, alice: Principal) -> None:
    before = index.vouched("demo", "1.0")
    assert "one path has one hash, for ever" in refused_by_signer(index, forged(index, EVIL))
    assert index.vouched("demo", "1.0") == before


def test_B8_rewritten_rows_of_the_database_change_nothing_that_was_published(
    index: LedgerIndex, alice: Principal
) -> None:
    before = index.page()
    evil = index.blobs.store_bytes(EVIL)
    with index.write() as connection:
        connection.execute(update(files).values(sha256=evil, size=len(EVIL)))
    index.publisher = index.new_publisher()
    index.publish("demo", "2.0", alice)
    assert index.page().file(WHEEL) == before.file(WHEEL)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sha256": sha256_of(b"other bytes")}, "not in the blob store"),
        ({"size": 7}, "not those of the proposal"),
        ({"core_metadata": None}, "sidecar"),
        ({"core_metadata": sha256_of(b"Requires-Dist: evil")}, "sidecar"),
        ({"requires_python": ">=2"}, "Requires-Python"),
    ],
)
def test_B16_the_signer_believes_no_word_of_the_web_process(
    index: LedgerIndex, alice: Principal, changes: dict[str, object], said: str
) -> None:
    name = wheel_name("demo", "2.0")
    reason = refused_by_signer(index, forged(index, build_wheel("demo", "2.0"), name, **changes))
    assert said in reason


def test_B16_a_blob_that_is_no_wheel_is_not_signed(index: LedgerIndex, alice: Principal) -> None:
    refused_by_signer(index, forged(index, b"#!/bin/sh\n", wheel_name("demo", "2.0")))


def test_B16_a_blob_that_was_swapped_is_not_signed(index: LedgerIndex, alice: Principal) -> None:
    name = wheel_name("demo", "2.0")
    seq = index.admit(build_wheel("demo", "2.0"), name, alice)
    with index.ledger.read() as connection:
        sha256 = connection.scalar(select(files.c.sha256).where(files.c.filename == name))
    assert sha256 is not None
    blob = index.blobs.path(Sha256(sha256))
    blob.chmod(0o644)
    blob.write_bytes(build_wheel("demo", "2.0", files={"evil.py": b""}))
    index.sign()
    assert index.outcome(seq)[0] == "refused"
    assert index.vouched("demo", "2.0") is None


@pytest.mark.parametrize(
    "row", [{}, {"kind": "sign", "project": "demo"}, {"kind": "files", "project": "demo"}, [], "x"]
)
def test_B16_a_row_that_is_no_proposal_stops_nobody(index: LedgerIndex, alice: Principal, row: object) -> None:
    with index.write() as connection:
        connection.execute(outbox.insert().values(project="demo", proposal=row, state="pending"))
    index.publish("demo", "2.0", alice)


def test_B17_a_replayed_identity_token_buys_nothing(tmp_path: Path) -> None:
    index = LedgerIndex(tmp_path / "index", now=datetime.now(UTC))
    index.publish("demo", "1.0", index.user("alice"))
    with running_issuer() as issuer:
        trusted = TrustedPublisher(GitHubPublisher("octo/demo", "release.yml", issuer=issuer.url))
        with index.write() as connection:
            publishers.register(connection, DEMO, trusted, None, "boss", index.now)

        async def mint(token: str) -> MintedToken:
            async with Fetcher() as fetcher:
                keys = IssuerKeys((issuer.url,), fetcher, lambda: index.now)
                return await TokenMint("this-index", keys, index.ledger, lambda: index.now).mint(token)

        token = issuer.sign("this-index")
        index.publish("demo", "2.0", index.principal(asyncio.run(mint(token)).text))
        for later_s in (0, 60, 600):
            index.later(seconds=later_s)
            with pytest.raises(NotAllowed):
                asyncio.run(mint(token))
        with pytest.raises(NotAllowed):
            asyncio.run(mint(issuer.sign("another-index")))
    index.ledger.close()


def _zip(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


WRONG_ARCHIVES = {
    "prefix": b"#!/bin/sh\n" + build_wheel("demo", "2.0"),
    "trailing": build_wheel("demo", "2.0") + b"PK\x05\x06 more",
    "two-archives": build_wheel("demo", "2.0") + build_wheel("demo", "2.0", files={"evil.py": b""}),
    "no-record": _zip(("demo.py", b""), ("demo-2.0.dist-info/METADATA", wheel_metadata("demo", "2.0"))),
    "dot-dot": build_wheel("demo", "2.0", files={"../evil.py": b""}),
    "absolute": build_wheel("demo", "2.0", files={"/evil.py": b""}),
    "case": build_wheel("demo", "2.0", files={"DEMO.py": b""}),
    "another-name": build_wheel("other", "2.0"),
    "another-version": build_wheel("demo", "3.0"),
}


@pytest.mark.parametrize("case", WRONG_ARCHIVES)
def test_B18_an_archive_with_two_readings_is_refused_at_the_desk_and_by_the_signer(
    index: LedgerIndex, alice: Principal, case: str
) -> None:
    name = wheel_name("demo", "2.0")
    with pytest.raises(InvalidDistribution):
        index.admit(WRONG_ARCHIVES[case], name, alice)
    refused_by_signer(index, forged(index, WRONG_ARCHIVES[case], name))
    assert index.vouched("demo", "2.0") is None


@pytest.mark.parametrize(
    "fields",
    [{"requires_dist": "other"}, {"requires_python": ">=3.8"}, {"summary": "another"}, {"license": "MIT"}],
)
def test_B19_a_form_that_says_more_than_the_file_is_refused(
    index: LedgerIndex, alice: Principal, fields: dict[str, str]
) -> None:
    with pytest.raises(AssayError):
        index.admit(build_wheel("demo", "2.0"), wheel_name("demo", "2.0"), alice, **fields)
    assert index.page().file(wheel_name("demo", "2.0")) is None


def test_B19_a_form_that_hides_a_dependency_is_refused(index: LedgerIndex, alice: Principal) -> None:
    hidden = build_wheel("demo", "2.0", requires=["other", "evil"])
    with pytest.raises(CallerError) as refusal:
        index.admit(hidden, wheel_name("demo", "2.0"), alice, requires_dist="other")
    assert refusal.value.subject == "requires_dist"


def test_B19_what_installers_read_is_the_files_own_metadata(index: LedgerIndex, alice: Principal) -> None:
    index.admit(build_wheel("demo", "2.0", requires=["other"]), wheel_name("demo", "2.0"), alice)
    index.sign()
    entry = index.page().file(wheel_name("demo", "2.0"))
    assert entry is not None
    assert entry.core_metadata is not None
    assert b"Requires-Dist: other" in index.blobs.path(entry.core_metadata).read_bytes()
