"""What the operator decides about uploads: each rule from both sides of its bound (upload.md, groups 1-6)."""

import gzip
import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from assay.formats.upload_checks import UploadPolicy
from assay.index.registration import Rules
from assay.model.errors import CallerError, NotAllowed, TooLarge, TooMany
from assay.trust.layout import TargetPath
from index.ledger_index import DEMO, LedgerIndex, build_wheel, inspect_here, wheel_name

Make = Callable[[Rules], LedgerIndex]
WHEEL = build_wheel("demo", "1.0")


@pytest.fixture
def make(tmp_path: Path, request: pytest.FixtureRequest) -> Make:
    def made(rules: Rules) -> LedgerIndex:
        index = LedgerIndex(tmp_path / "index", rules=rules)
        request.addfinalizer(index.ledger.close)
        return index

    return made


def sdist(*headers: str, version: str = "1.0") -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        text = "\n".join(
            ["Metadata-Version: 2.4", "Name: demo", f"Version: {version}", "Summary: a small wheel", *headers]
        )
        member = tarfile.TarInfo(f"demo-{version}/PKG-INFO")
        member.size = len(text) + 1
        archive.addfile(member, io.BytesIO(text.encode() + b"\n"))
    return gzip.compress(raw.getvalue(), mtime=0)


def refused(index: LedgerIndex, data: bytes, name: str, user: str = "alice") -> CallerError:
    principal = index.user(user)
    with pytest.raises(CallerError) as refusal:
        index.admit(data, name, principal)
    return refusal.value


@pytest.mark.parametrize(
    ("data", "name", "rule", "allowed"),
    [
        (build_wheel("demo", "1.0+cu12"), "demo-1.0+cu12-py3-none-any.whl", "policy-local-version", "local"),
        (
            build_wheel("demo", "1.0", requires=["evil @ https://example.com/evil.whl"]),
            wheel_name("demo", "1.0"),
            "policy-direct-reference",
            "direct",
        ),
    ],
)
def test_what_is_for_private_indexes(make: Make, data: bytes, name: str, rule: str, allowed: str) -> None:
    index = make(Rules())
    assert refused(index, data, name).rule == rule
    index.admission = replace(
        index.admission, rules=Rules(policy=UploadPolicy(allowed == "local", allowed == "direct"))
    )
    index.admit(data, name, index.user("alice"))


@pytest.mark.parametrize("name", ["secret-sauce", "Secret_Sauce", "acme"])
def test_a_prohibited_name_is_given_to_nobody(make: Make, name: str) -> None:
    index = make(Rules(prohibited=("secret-*", "acme")))
    normal = name.lower().replace("-", "_")
    assert refused(index, build_wheel(normal, "1.0"), wheel_name(normal, "1.0")).rule == "name-prohibited"
    index.publish("acmes", "1.0", index.user("alice"))


def test_the_size_of_a_project_is_bounded(make: Make) -> None:
    two = len(WHEEL) + len(build_wheel("demo", "2.0"))
    index = make(Rules(max_project_bytes=two))
    alice = index.user("alice")
    index.publish("demo", "1.0", alice)
    index.publish("demo", "2.0", alice)
    refusal = refused(index, build_wheel("demo", "3.0"), wheel_name("demo", "3.0"))
    assert (type(refusal), refusal.rule) == (TooLarge, "project-size")
    index.publish("other", "1.0", alice)
    assert index.admit(WHEEL, wheel_name("demo", "1.0"), alice), "the same file again needs no room"


def test_what_was_removed_makes_room(make: Make) -> None:
    from assay.index import states

    index = make(Rules(max_project_bytes=len(WHEEL)))
    alice = index.user("alice")
    index.publish("demo", "1.0", alice)
    with index.write() as connection:
        states.remove_files(connection, DEMO, "1.0", "old", "boss", index.now)
    index.publish("demo", "2.0", alice)


@pytest.mark.parametrize("days", [1.0, 14.0, 30.0])
def test_a_release_is_open_as_long_as_the_operator_says(make: Make, days: float) -> None:
    index = make(Rules(close_after=timedelta(days=days)))
    alice = index.user("alice")
    index.publish("demo", "1.0", alice)
    index.later(days=days, seconds=-1)
    index.sign()
    source = sdist()
    seq = index.admit(source, "demo-1.0.tar.gz", alice)
    index.sign()
    assert index.outcome(seq) == ("published", None)
    index.later(seconds=1)
    other = build_wheel("demo", "1.0", files={"x.py": b""})
    refusal = refused(index, other, "demo-1.0-1-py3-none-any.whl")
    assert (type(refusal), refusal.rule) == (NotAllowed, "release-closed")
    assert f"within {days:g} days" in str(refusal)


def test_uploads_of_a_user_are_counted_for_all_web_processes_and_across_restarts(make: Make) -> None:
    index = make(Rules(uploads_per_minute=2))
    alice, bob = index.user("alice"), index.user("bob")
    index.publish("demo", "1.0", alice)
    another_process = replace(index.admission, inspect=inspect_here)
    index.admission = another_process
    index.publish("demo", "2.0", alice)
    with pytest.raises(TooMany) as refusal:
        index.admit(build_wheel("demo", "3.0"), wheel_name("demo", "3.0"), alice)
    assert refusal.value.rule == "rate"
    index.publish("bobs", "1.0", bob)
    index.later(minutes=1)
    index.publish("demo", "3.0", alice)


# --- files of one release that depend on different things (threat B19) ----------------------------------------


def custom(index: LedgerIndex, name: str) -> dict[str, object]:
    found = index.state().target(TargetPath(f"packages/demo/1.0/{name}"))
    assert found is not None
    return dict(found.custom)


def test_B19_dependencies_that_differ_are_recorded_signed_and_told(make: Make) -> None:
    index = make(Rules())
    alice = index.user("alice")
    first, second = wheel_name("demo", "1.0"), "demo-1.0-1-py3-none-any.whl"
    index.admit(build_wheel("demo", "1.0", requires=["Idna>=3", "other"]), first, alice)
    assert index.notes == []
    index.admit(build_wheel("demo", "1.0", requires=["idna >= 3", "evil"]), second, alice)
    index.sign()
    assert index.notes == [f"it depends on something else than {first}: also on evil, not on other"]
    differs = {"other": first, "added": ["evil"], "missing": ["other"]}
    assert custom(index, second)["dependencies_differ"] == differs
    assert "dependencies_differ" not in custom(index, first)
    assert [event.get("dependencies_differ") for event in index.events("file-uploaded")] == [None, differs]


@pytest.mark.parametrize(
    ("headers", "differs"),
    [
        (["Requires-Dist: other"], False),
        (["Requires-Dist: evil"], True),
        (["Requires-Dist: other", "Requires-Python: >=3.12"], True),
        (["Dynamic: Requires-Dist"], False),
    ],
)
def test_B19_an_sdist_counts_where_it_says_what_it_depends_on(make: Make, headers: list[str], differs: bool) -> None:
    index = make(Rules())
    alice = index.user("alice")
    index.admit(build_wheel("demo", "1.0", requires=["other"]), wheel_name("demo", "1.0"), alice)
    index.admit(sdist(*headers), "demo-1.0.tar.gz", alice)
    assert bool(index.notes) == differs


def test_B19_a_file_that_was_removed_is_not_compared_with(make: Make) -> None:
    from assay.index import states

    index = make(Rules())
    alice = index.user("alice")
    index.publish("demo", "1.0", alice)
    with index.write() as connection:
        states.remove_files(connection, DEMO, "1.0", "wrong dependencies", "boss", index.now)
    other = build_wheel("demo", "1.0", requires=["other"])
    index.admit(other, "demo-1.0-1-py3-none-any.whl", alice)
    assert index.notes == []
