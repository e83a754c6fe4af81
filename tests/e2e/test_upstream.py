"""Pull-through: what was seen first counts for ever, and private names never leave the house."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from assay.cli.demo.tampering import Frozen
from assay.index.config import DataFolder
from assay.model.digests import sha256_of
from client.small_distributions import build_wheel
from e2e.house import House, ask, running_house
from e2e.installers import PIP, UV, modules
from e2e.upstream import Upstream

pytestmark = pytest.mark.e2e


def wheel_name(project: str) -> str:
    return f"{project}-1.0-py3-none-any.whl"


def events(house: House, project: str) -> list[tuple[str, str]]:
    """Kind and facts of the events of ``project``, as the administrators' tools read them."""
    with closing(sqlite3.connect(DataFolder(house.index.data).ledger_file)) as database:
        return database.execute("SELECT kind, facts FROM events WHERE project = ?", (project,)).fetchall()


def test_other_bytes_than_were_seen_first_are_refused_and_recorded(house: House, upstream: Upstream) -> None:
    first, other = build_wheel("moving", "1.0"), build_wheel("moving", "1.0", files={"evil.py": b""})
    upstream.add("moving", wheel_name("moving"), first)
    assert house.page("moving") is not None
    upstream.add("moving", wheel_name("moving"), other)
    done, installed = PIP.install(house.user(), "moving")
    assert (done.code, installed) == (10, [])
    assert sha256_of(first) in done.said
    recorded = [facts for kind, facts in events(house, "moving") if kind == "upstream-changed"]
    assert any(sha256_of(first) in facts and sha256_of(other) in facts for facts in recorded)
    page = house.page("moving")
    assert page is not None
    assert [file["hashes"]["sha256"] for file in page["files"]] == [sha256_of(first)]


def test_what_was_fetched_stays_installable_when_the_upstream_changes_it(house: House, upstream: Upstream) -> None:
    first = build_wheel("kept", "1.0")
    upstream.add("kept", wheel_name("kept"), first)
    assert UV.install(house.user(), "kept")[0].code == 0
    upstream.add("kept", wheel_name("kept"), build_wheel("kept", "1.0", files={"evil.py": b""}))
    done, installed = UV.install(house.user(), "kept")
    assert (done.code, modules(installed)) == (0, {"kept"})
    assert any(kind == "upstream-changed" for kind, _ in events(house, "kept"))


def test_bytes_that_are_not_those_of_the_page_are_refused(house: House, upstream: Upstream) -> None:
    upstream.add("lying", wheel_name("lying"), build_wheel("lying", "1.0"))
    upstream.shown[wheel_name("lying")] = "0" * 64
    done, installed = UV.install(house.user(), "lying")
    assert (done.code, installed) == (10, [])


def test_private_names_never_go_upstream(house: House, upstream: Upstream) -> None:
    """Dependency confusion: the public index has projects of the same names, with higher versions."""
    public = "9.0-py3-none-any.whl"
    house.publish(("uploaded", "1.0"))
    upstream.asked.clear()
    for project in ("inhouse-lib", "reserved", "uploaded"):
        upstream.add(project, f"{project.replace('-', '_')}-{public}", build_wheel(project.replace("-", "_"), "9.0"))
    assert house.operator("project", "create", "reserved", "--private").code == 0
    user = house.user()
    for project in ("inhouse-lib", "reserved"):
        assert ask(f"{house.index.simple_url}{project}/").status == 404
        done, installed = UV.install(user, project, name=project)
        assert (done.code != 0, installed) == (True, [])
    done, installed = UV.install(user, "uploaded", name="uploaded")
    assert (done.code, "uploaded-1.0.dist-info/METADATA" in installed) == (0, True)
    assert not [path for path in upstream.asked if "inhouse" in path or "reserved" in path or "uploaded" in path]


def test_a_project_that_nobody_has_does_not_exist(house: House) -> None:
    assert house.page("nobody-has-this") is None
    done, installed = PIP.install(house.user(), "nobody-has-this")
    assert (done.code, installed) == (1, [])


def test_a_project_of_the_upstream_cannot_be_uploaded_here(house: House, upstream: Upstream) -> None:
    upstream.add("theirs", wheel_name("theirs"), build_wheel("theirs", "1.0"))
    assert house.page("theirs") is not None
    refused = house.upload("theirs-2.0-py3-none-any.whl", build_wheel("theirs", "2.0"))
    assert (refused.status, b"the upstream's" in refused.body) == (403, True)


def test_a_name_that_the_upstream_has_is_nobodys_here_before_anybody_asked_for_it(
    house: House, upstream: Upstream
) -> None:
    for project in ("wanted", "bought"):
        upstream.add(project, wheel_name(project), build_wheel(project, "1.0"))
    refused = house.upload("wanted-9.0-py3-none-any.whl", build_wheel("wanted", "9.0"))
    assert (refused.status, b"--private" in refused.body) == (403, True)
    page = house.page("wanted")
    assert page is not None
    assert page["versions"] == ["1.0"]
    assert house.operator("project", "create", "bought", "--private", "--owner", "admin").code == 0
    house.publish(("bought", "9.0"))
    page = house.page("bought")
    assert page is not None
    assert page["versions"] == ["9.0"]


def test_a_page_whose_signature_is_late_is_late_and_not_missing(folder: Path, upstream: Upstream) -> None:
    """A 404 would make a resolver fall back to another version, or to another index."""
    upstream.add("late", wheel_name("late"), build_wheel("late", "1.0"))
    config = "[limits]\npublish_timeout_s = 1\n"
    with running_house(folder / "slow", "--upstream", upstream.simple_url, config=config) as house:
        with Frozen(house.index.child_pid("signer")):
            answers = [ask(f"{house.index.simple_url}late/").status for _ in range(2)]
        assert [status >= 500 for status in answers] == [True, True]
        assert house.page("late") is not None
