"""Six unmodified clients: wheel and sdist end to end, the same again, and our words when we refuse."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.conftest import open_folder
from e2e.house import House, running_house
from e2e.upload_clients import CLIENTS, Client, Publishing

pytestmark = [pytest.mark.e2e, pytest.mark.network, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def index() -> Iterator[House]:
    with open_folder() as folder, running_house(folder) as house:
        yield house


@pytest.fixture(params=CLIENTS, ids=lambda client: client.name)
def publishing(request: pytest.FixtureRequest, index: House) -> Publishing:
    client: Client = request.param
    cache = request.config.cache
    assert cache is not None
    program = client.program(Path(cache.mkdir("upload-clients")))
    name = f"{client.name}{request.node.originalname.replace('_', '')[4:24]}"
    return Publishing(client, program, index.stranger(), name, index.index.upload_url, index.token)


def filenames(index: House, project: str) -> list[str]:
    page = index.page(project)
    return sorted(file["filename"] for file in page["files"]) if page else []


def test_published_and_again(publishing: Publishing, index: House) -> None:
    publishing.write_project()
    done = publishing.publish()
    assert done.code == 0, done.said
    name = publishing.project
    both = sorted([f"{name}-1.0-py3-none-any.whl", f"{name}-1.0.tar.gz"])
    found = filenames(index, name)
    assert [each.replace("py2.py3", "py3") for each in found] == both
    again = publishing.publish_again()
    assert again.code == 0, again.said
    assert filenames(index, name) == found


def test_refused_in_our_words(publishing: Publishing, index: House) -> None:
    publishing.write_project()
    assert publishing.publish().code == 0
    before = index.page(publishing.project)
    done = index.operator("archive", publishing.project, "--reason", "finished")
    assert done.code == 0, done.said
    publishing.write_project("OTHER = 1\n")
    refused = publishing.publish()
    assert refused.code != 0, refused.said
    said = " ".join(refused.said.split())
    assert publishing.client.words_of_refusal in said, refused.said
    page = index.page(publishing.project)
    assert before is not None
    assert page is not None
    assert page["files"] == before["files"]
    assert page["project-status"] == {"status": "archived", "reason": "finished"}
