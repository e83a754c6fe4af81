"""Publishing with unmodified twine and ``uv publish``: what is accepted, what is refused, and in which words."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from assay.cli.demo.programs import Done, Person
from client.small_distributions import build_sdist, build_wheel
from e2e.house import PROGRAMS, House

pytestmark = pytest.mark.e2e


def twine(person: Person, *files: Path) -> Done:
    return person.run(*PROGRAMS.twine, "upload", "--non-interactive", "--disable-progress-bar", *map(str, files))


def uv_publish(person: Person, *files: Path) -> Done:
    return person.run(*PROGRAMS.uv, "publish", "--no-cache", "--trusted-publishing=never", *map(str, files))


TOOLS = {"twine": twine, "uv": uv_publish}


def write(person: Person, filename: str, data: bytes) -> Path:
    path = person.folder / filename
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def filenames(house: House, project: str) -> Sequence[str]:
    explained = house.page(project)
    return [file["filename"] for file in explained["files"]] if explained else []


@pytest.mark.parametrize("tool", TOOLS)
def test_wheel_and_sdist_are_published_and_the_same_again(house: House, tool: str) -> None:
    name = f"first{tool}"
    developer = house.developer()
    files = [
        write(developer, f"{name}-1.0-py3-none-any.whl", build_wheel(name, "1.0")),
        write(developer, f"{name}-1.0.tar.gz", build_sdist(name, "1.0", build_requires=[], backend=name)),
    ]
    for _again in range(2):
        done = TOOLS[tool](developer, *files)
        assert done.code == 0, done.said
    assert filenames(house, name) == [path.name for path in files]


@pytest.mark.parametrize("tool", TOOLS)
def test_other_bytes_under_a_published_name_are_refused(house: House, tool: str) -> None:
    name = f"taken{tool}"
    house.publish((name, "1.0"))
    filename = f"{name}-1.0-py3-none-any.whl"
    before = house.page(name)
    developer = house.developer()
    evil = build_wheel(name, "1.0", files={"evil.py": b""})
    done = TOOLS[tool](developer, write(developer, filename, evil))
    assert done.code != 0
    assert "already exist" in done.said
    answer = house.upload(filename, evil)
    assert (answer.status, "already exist" in answer.reason) == (409, True)
    assert house.page(name) == before


@pytest.mark.parametrize("tool", TOOLS)
def test_a_wrong_token_is_refused(house: House, tool: str) -> None:
    name = f"wrong{tool}"
    unknown = f"{house.token[:6]}{'a' * 52}{house.token[-6:]}"
    developer = house.developer(unknown)
    data = build_wheel(name, "1.0")
    done = TOOLS[tool](developer, write(developer, f"{name}-1.0-py3-none-any.whl", data))
    assert done.code != 0
    assert "403" in done.said or "token" in done.said
    assert house.upload(f"{name}-1.0-py3-none-any.whl", data, token=unknown).status == 403
    assert house.page(name) is None


def test_a_token_of_another_project_is_refused_and_a_revoked_one(house: House) -> None:
    house.publish(("scoped", "1.0"))
    assert house.operator("user", "create", "eve").code == 0
    token = house.operator("token", "create", "eve", "--project", "other").said.strip()
    wheel = build_wheel("scoped", "2.0")
    refused = house.upload("scoped-2.0-py3-none-any.whl", wheel, token=token)
    assert (refused.status, b"may not upload to this project" in refused.body) == (403, True)
    assert house.upload("other-1.0-py3-none-any.whl", build_wheel("other", "1.0"), token=token).status == 200
    listed = house.operator("token", "list").said
    token_id = next(line.split()[0] for line in listed.splitlines() if " eve " in line)
    assert house.operator("token", "revoke", token_id).code == 0
    again = house.upload("other-2.0-py3-none-any.whl", build_wheel("other", "2.0"), token=token)
    assert (again.status, b"revoked" in again.body) == (403, True)


def test_somebody_without_a_role_cannot_publish_until_it_is_granted(house: House) -> None:
    house.publish(("granted", "1.0"))
    assert house.operator("user", "create", "frank").code == 0
    token = house.operator("token", "create", "frank").said.strip()
    wheel = build_wheel("granted", "2.0")
    refused = house.upload("granted-2.0-py3-none-any.whl", wheel, token=token)
    assert (refused.status, b"no role on this project" in refused.body) == (403, True)
    assert house.operator("grant", "frank", "maintainer", "granted").code == 0
    assert house.upload("granted-2.0-py3-none-any.whl", wheel, token=token).status == 200
