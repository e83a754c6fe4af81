"""Yank, remove, quarantine, archive, deprecate, transfer: what readers see, what is for ever."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from assay.formats.pages import Status, parse_page_json, render_page_json
from assay.formats.simple_html import render_page_html
from assay.index import states
from assay.index.ledger import accounts
from assay.index.ledger.publications import propose
from assay.index.proposals import Entomb, Remove, SetStatus, Yank, decode_proposal, encode_proposal
from assay.index.registration import Rules
from assay.model.errors import AssayError, CallerError, InvalidUpload, NotAllowed, NotFound, SignerRefused, TooMany
from assay.model.permissions import Principal, ProjectRole
from index.ledger_index import DEMO, LedgerIndex, build_wheel, wheel_name

WHEEL = wheel_name("demo", "1.0")


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


def change(index: LedgerIndex, verb: Callable[..., list[int]], *arguments: object) -> None:
    with index.write() as connection:
        proposals = verb(connection, DEMO, *arguments, "boss", index.now)
    index.sign()
    assert all(index.outcome(seq)[0] == "published" for seq in proposals)


@pytest.mark.parametrize("what", ["1.0", "1.0.0", WHEEL])
def test_yank_and_unyank_by_version_and_by_filename(index: LedgerIndex, alice: Principal, what: str) -> None:
    index.publish("demo", "2.0", alice)
    change(index, states.yank, what, "broken")
    assert [file.yanked for file in index.page().files] == ["broken", None]
    assert b'data-yanked="broken"' in render_page_html(index.page())
    change(index, states.yank, what, None)
    assert [file.yanked for file in index.page().files] == [None, None]
    assert [event["actor"] for event in index.events("yank-requested")] == ["boss"]
    assert index.vouched("demo", "1.0") is not None


def test_a_yank_without_a_reason_is_a_yank(index: LedgerIndex, alice: Principal) -> None:
    change(index, states.yank, "1.0", "")
    assert b'"yanked":true' in render_page_json(index.page())


def test_a_removed_file_is_gone_and_its_name_never_returns(index: LedgerIndex, alice: Principal) -> None:
    index.publish("demo", "2.0", alice)
    sha256 = index.vouched("demo", "1.0")
    change(index, states.remove_files, WHEEL, "leaked a key")
    page = index.page()
    assert [file.filename for file in page.files] == [wheel_name("demo", "2.0")]
    assert index.vouched("demo", "1.0") is None
    assert [(file.filename, file.sha256) for file in page.removed] == [(WHEEL, sha256)]
    for data in (build_wheel("demo", "1.0"), build_wheel("demo", "1.0", files={"other.py": b""})):
        with pytest.raises(InvalidUpload, match="a removed name never returns"):
            index.admit(data, WHEEL, alice)


def test_the_signer_knows_a_removed_name_although_the_ledger_forgot(index: LedgerIndex, alice: Principal) -> None:
    change(index, states.remove_files, "1.0", "mistake")
    _forget_files(index)
    seq = index.admit(build_wheel("demo", "1.0"), WHEEL, alice)
    index.sign()
    state, reason = index.outcome(seq)
    assert state == "refused"
    assert "a removed name never returns" in str(reason)
    assert index.vouched("demo", "1.0") is None


def test_removing_the_first_file_does_not_open_the_release_again(index: LedgerIndex, alice: Principal) -> None:
    change(index, states.remove_files, "1.0", "mistake")
    index.later(days=15)
    index.sign()
    other = "demo-1.0-py2-none-any.whl"
    with pytest.raises(NotAllowed, match="closed"):
        index.admit(build_wheel("demo", "1.0"), other, alice)


def test_a_file_uploaded_and_removed_before_the_signer_looks(index: LedgerIndex, alice: Principal) -> None:
    index.admit(build_wheel("demo", "2.0"), wheel_name("demo", "2.0"), alice)
    change(index, states.remove_files, "2.0", "at once")
    assert index.vouched("demo", "2.0") is None
    assert [file.filename for file in index.page().removed] == [wheel_name("demo", "2.0")]


@pytest.mark.parametrize("status", ["archived", "quarantined"])
def test_a_project_that_takes_no_uploads(index: LedgerIndex, alice: Principal, status: Status) -> None:
    change(index, states.set_status, status, "no more")
    with pytest.raises(NotAllowed) as refusal:
        index.admit(build_wheel("demo", "2.0"), wheel_name("demo", "2.0"), alice)
    assert refusal.value.rule == "project-status"
    change(index, states.set_status, "active", None)
    index.publish("demo", "2.0", alice)
    assert [file.filename for file in index.page().files] == [WHEEL, wheel_name("demo", "2.0")]


def test_an_archived_project_offers_its_files(index: LedgerIndex, alice: Principal) -> None:
    change(index, states.set_status, "archived", "finished")
    assert [file.filename for file in index.page().files] == [WHEEL]
    html = render_page_html(index.page())
    assert b'name="pypi:project-status" content="archived"' in html
    assert b'name="pypi:project-status-reason" content="finished"' in html


def test_a_quarantined_project_offers_nothing_until_it_is_reactivated(index: LedgerIndex, alice: Principal) -> None:
    change(index, states.set_status, "quarantined", "malware?")
    assert index.page().files == ()
    change(index, states.yank, "1.0", "seen while quarantined")
    assert index.page().files == ()
    change(index, states.set_status, "active", None)
    assert [(file.filename, file.yanked) for file in index.page().files] == [(WHEEL, "seen while quarantined")]


def test_a_deprecated_project_takes_uploads(index: LedgerIndex, alice: Principal) -> None:
    change(index, states.set_status, "deprecated", "use other")
    index.publish("demo", "2.0", alice)
    assert (index.page().status, index.page().status_reason) == ("deprecated", "use other")


def test_the_signer_holds_the_status_although_the_ledger_forgot(index: LedgerIndex, alice: Principal) -> None:
    change(index, states.set_status, "quarantined", None)
    from sqlalchemy import update

    from assay.index.ledger.schema import projects

    with index.write() as connection:
        connection.execute(update(projects).values(status="active"))
    seq = index.admit(build_wheel("demo", "2.0"), wheel_name("demo", "2.0"), alice)
    index.sign()
    assert index.outcome(seq)[0] == "refused"


def test_transfer_ends_the_former_owners_right(index: LedgerIndex, alice: Principal) -> None:
    bob = index.user("bob")
    with index.write() as connection:
        assert states.transfer(connection, DEMO, "bob", "boss", index.now) == ["alice"]
    index.publish("demo", "2.0", bob)
    with pytest.raises(NotAllowed) as refusal:
        index.admit(build_wheel("demo", "3.0"), wheel_name("demo", "3.0"), alice)
    assert refusal.value.rule == "no-role"
    assert index.events("project-transferred")[-1]["owner"] == "bob"


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda c, i: states.yank(c, DEMO, "9.9", "", "boss", i.now), NotFound),
        (lambda c, i: states.remove_files(c, DEMO, "nothing.whl", "x", "boss", i.now), NotFound),
        (lambda c, i: states.yank(c, DEMO, "1.0", "two\nlines", "boss", i.now), CallerError),
        (lambda c, i: states.yank(c, DEMO, "1.0", "x" * 501, "boss", i.now), CallerError),
        (lambda c, i: states.transfer(c, DEMO, "nobody", "boss", i.now), NotFound),
    ],
)
def test_what_cannot_be_done(
    index: LedgerIndex, alice: Principal, act: Callable[..., object], error: type[AssayError]
) -> None:
    with pytest.raises(error), index.write() as connection:
        act(connection, index)
    index.sign()
    assert [file.yanked for file in index.page().files] == [None]
    with index.ledger.read() as connection:
        grant = accounts.find_grant(connection, DEMO, "alice")
    assert grant is not None
    assert grant.role is ProjectRole.OWNER


@pytest.mark.parametrize(
    "proposal",
    [
        Yank(DEMO, WHEEL, "why"),
        Yank(DEMO, WHEEL, None),
        Remove(DEMO, WHEEL),
        SetStatus(DEMO, "archived", None),
        Entomb(DEMO),
    ],
)
def test_proposals_survive_the_outbox(proposal: Yank | Remove | SetStatus | Entomb) -> None:
    assert decode_proposal(encode_proposal(proposal)) == proposal


@pytest.mark.parametrize(
    "row",
    [
        {"kind": "remove", "project": "demo"},
        {"kind": "remove", "project": "demo", "filename": 5},
        {"kind": "remove", "project": "demo", "filename": None},
        {"kind": "status", "project": "demo", "status": "removed", "reason": None},
        {"kind": "resurrect", "project": "demo"},
        {"kind": "entomb"},
    ],
)
def test_rows_that_are_no_proposal(row: dict[str, object]) -> None:
    with pytest.raises(SignerRefused) as refusal:
        decode_proposal(row)
    assert refusal.value.rule == "outbox-row"


def test_nothing_happens_to_a_file_that_was_never_published(index: LedgerIndex, alice: Principal) -> None:
    with index.write() as connection:
        proposals = [propose(connection, change) for change in (Remove(DEMO, "x.whl"), Yank(DEMO, "x.whl", ""))]
    before = render_page_json(index.page())
    index.sign()
    assert [index.outcome(seq)[0] for seq in proposals] == ["refused", "refused"]
    assert render_page_json(index.page()) == before


def test_pages_with_every_state_are_read_back(index: LedgerIndex, alice: Principal) -> None:
    index.publish("demo", "2.0", alice)
    change(index, states.remove_files, "1.0", "x")
    change(index, states.set_status, "quarantined", "y")
    page = index.page()
    assert parse_page_json(render_page_json(page)) == page


def _forget_files(index: LedgerIndex) -> None:
    from sqlalchemy import delete

    from assay.index.ledger.schema import files

    with index.write() as connection:
        connection.execute(delete(files))


def test_new_projects_of_a_user_are_limited(index: LedgerIndex) -> None:
    index.admission = replace(index.admission, rules=Rules(new_projects_per_day=2))
    alice, bob = index.user("alice"), index.user("bob")
    index.publish("first", "1.0", alice)
    index.publish("second", "1.0", alice)
    with pytest.raises(TooMany) as refusal:
        index.admit(build_wheel("third", "1.0"), wheel_name("third", "1.0"), alice)
    assert refusal.value.rule == "new-project-rate"
    index.publish("first", "2.0", alice)
    index.publish("third", "1.0", bob)
    index.later(days=1)
    index.sign()
    index.publish("fourth", "1.0", alice)
