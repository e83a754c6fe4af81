"""The administrators' verbs on the data folder and over HTTP: the same words, the same results."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assay.cli.demo.programs import ASSAY, Done
from client.small_distributions import build_wheel
from e2e.conftest import open_folder
from e2e.house import House, ask, running_house

pytestmark = pytest.mark.e2e

STORY: tuple[tuple[str, ...], ...] = (
    ("user", "create", "carol"),
    ("user", "list"),
    ("token", "create", "carol", "--action", "upload", "--action", "admin", "--project", "PROJECT"),
    ("token", "list"),
    ("grant", "carol", "maintainer", "PROJECT"),
    ("project", "show", "PROJECT"),
    ("project", "list"),
    ("publisher", "add", "PROJECT", "GitHub", "--repository", "acme/it", "--workflow", "release.yml"),
    ("publisher", "list"),
    ("publisher", "remove", "ID"),
    ("yank", "PROJECT", "1.0", "--reason", "broken"),
    ("unyank", "PROJECT", "1.0"),
    ("archive", "PROJECT", "--reason", "finished"),
    ("deprecate", "PROJECT", "--reason", "use another"),
    ("quarantine", "PROJECT"),
    ("reactivate", "PROJECT"),
    ("project", "transfer", "PROJECT", "carol"),
    ("grant", "carol", "none", "PROJECT"),
    ("remove", "PROJECT", "1.0", "--reason", "a mistake"),
    ("remove", "PROJECT", "--whole-project", "--reason", "all of it"),
)


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_folder() as folder, running_house(folder) as made:
        made.publish(("local", "1.0"), ("remote", "1.0"))
        yield made


def over_http(house: House, *words: str, **settings: str) -> Done:
    settings = {"ASSAY_TOKEN": house.token, **settings}
    return house.stranger(**settings).run(*ASSAY, *words, "--index", house.index.url)


def kinds(value: Any) -> Any:
    """The shape of a result: its names, and the types of what they stand for."""
    if isinstance(value, dict):
        return {name: kinds(each) for name, each in value.items()}
    if isinstance(value, list):
        return [kinds(value[0])] if value else []
    return type(value).__name__


def test_every_verb_says_the_same_on_the_folder_and_over_http(house: House) -> None:
    shapes: dict[str, list[Any]] = {}
    for way in ("local", "remote"):
        shapes[way], number = [], ""
        for told in STORY:
            meant = {"PROJECT": way, "ID": number, "carol": f"carol-{way}"}
            words = [meant.get(word, word) for word in told]
            run = house.operator if way == "local" else lambda *words: over_http(house, *words)
            done = run(*words, "--json")
            assert done.code == 0, (words, done.said)
            result = json.loads(done.said.splitlines()[-1])
            number = str(result.get("id", number))
            shapes[way].append((words[0], kinds(result)))
    assert [verb for verb, _ in shapes["local"]] == [verb for verb, _ in shapes["remote"]]
    for local, remote in zip(shapes["local"], shapes["remote"], strict=True):
        if "list" not in str(local):
            assert local == remote
    assert house.page("remote") is not None
    assert (house.page("remote") or {})["files"] == []


def test_the_token_comes_from_a_file_or_the_environment_and_from_nowhere_else(house: House, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{house.token}\n", encoding="utf-8")
    assert over_http(house, "user", "list", "--token-file", str(file), ASSAY_TOKEN="wrong").code == 0
    for refused in (
        over_http(house, "user", "list", ASSAY_TOKEN=""),
        over_http(house, "user", "list", ASSAY_TOKEN="assay_wrong"),
        over_http(house, "user", "list", "--token-file", str(tmp_path / "absent")),
        over_http(house, "user", "list", "--token", house.token),
        over_http(house, "user", "list", "--data", str(tmp_path)),
    ):
        assert refused.code == 2, refused.said
        assert house.token not in refused.said.replace("--token " + house.token, "")


def test_a_token_is_not_sent_unencrypted_over_a_network(house: House) -> None:
    done = house.stranger(ASSAY_TOKEN=house.token).run(*ASSAY, "user", "list", "--index", "http://index.example/")
    assert (done.code, "plain-http" in done.said) == (2, True)


def test_an_owner_yanks_their_own_release_from_their_own_machine(house: House) -> None:
    assert house.operator("user", "create", "dora").code == 0
    token = house.operator("token", "create", "dora", "--action", "upload", "--action", "admin").said.strip()
    assert house.upload("doras-1.0-py3-none-any.whl", build_wheel("doras", "1.0"), token).status == 200
    done = over_http(house, "yank", "doras", "1.0", "--reason", "broken", ASSAY_TOKEN=token)
    assert done.code == 0, done.said
    page = house.page("doras")
    assert page is not None
    assert page["files"][0]["yanked"] == "broken"
    refused = over_http(house, "user", "create", "eve", ASSAY_TOKEN=token)
    assert (refused.code, "not-an-administrator" in refused.said) == (2, True)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "admin/user.list", b"[]", 400),
        ("POST", "admin/user.list", b"{", 400),
        ("POST", "admin/nothing", b"{}", 404),
        ("POST", "admin/", b"{}", 404),
        ("POST", "admin/user/list", b"{}", 404),
        ("POST", "admin/user.list", b" " * 1_000_001, 413),
        ("GET", "admin/user.list", None, 405),
    ],
)
def test_what_is_no_operation(house: House, method: str, path: str, body: bytes | None, status: int) -> None:
    answer = ask(f"{house.index.url}{path}", body, {"Authorization": f"Bearer {house.token}"})
    assert answer.status == status


def test_without_a_token_nobody_learns_anything(house: House) -> None:
    answer = ask(f"{house.index.url}admin/user.list", b"{}")
    assert (answer.status, b"admin" in answer.body.replace(b"authentication", b"")) == (403, False)
    assert os.environ.get("ASSAY_TOKEN") is None
