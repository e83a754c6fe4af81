"""Pages and lists as HTML and JSON, read back by the parsers that installers use."""

from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import orjson
from hypothesis import given
from hypothesis import strategies as st

from assay.formats.core_metadata import CoreMetadata
from assay.formats.json_api import newest_version, render_project_json
from assay.formats.pages import PageFile, ProjectPage, file_url
from assay.formats.simple_html import render_page_html, render_project_list_html, render_project_list_json
from assay.model.digests import Sha256
from assay.model.names import ProjectName
from assay.model.signers import Attached

DEMO = ProjectName("demo")
FILE = PageFile(
    filename="demo-1.0-py3-none-any.whl",
    url=file_url(DEMO, "1.0", "demo-1.0-py3-none-any.whl"),
    sha256=Sha256("a" * 64),
    size=12,
    upload_time=datetime(2026, 11, 23, 10, tzinfo=UTC),
)


def page(*files: PageFile) -> ProjectPage:
    return ProjectPage(DEMO, "upload", files)


class Reader(HTMLParser):
    """Anchors (attributes and text) and meta tags."""

    def __init__(self, data: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.anchors: list[tuple[dict[str, str | None], str]] = []
        self.metas: dict[str | None, str | None] = {}
        self.tags: list[str] = []
        self.feed(data.decode("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "a":
            self.anchors.append((dict(attrs), ""))
        elif tag == "meta":
            self.metas[dict(attrs).get("name")] = dict(attrs).get("content")

    def handle_data(self, data: str) -> None:
        if self.anchors and not self.anchors[-1][1]:
            self.anchors[-1] = (self.anchors[-1][0], data)


def test_a_plain_file() -> None:
    read = Reader(render_page_html(page(FILE)))
    assert read.anchors == [({"href": f"{FILE.url}#sha256={'a' * 64}"}, FILE.filename)]
    assert read.metas["pypi:repository-version"] == "1.4"
    assert "pypi:project-status" not in read.metas


def test_everything_a_file_can_have() -> None:
    full = replace(
        FILE,
        requires_python=">=3.8,<4",
        yanked="broken & <b>bad</b>",
        core_metadata=Sha256("b" * 64),
        signature=Attached(Sha256("c" * 64), FILE.upload_time, ("A" * 40,)),
        provenance=Attached(Sha256("d" * 64), FILE.upload_time, ("workflow release.yml",)),
    )
    [(attributes, _text)] = Reader(render_page_html(page(full))).anchors
    assert attributes == {
        "href": f"{FILE.url}#sha256={'a' * 64}",
        "data-requires-python": ">=3.8,<4",
        "data-yanked": "broken & <b>bad</b>",
        "data-core-metadata": "sha256=" + "b" * 64,
        "data-dist-info-metadata": "sha256=" + "b" * 64,
        "data-gpg-sig": "true",
        "data-provenance": f"{FILE.url}.provenance",
    }
    assert b"&gt;=3.8,&lt;4" in render_page_html(page(full))


def test_yanked_without_a_reason_is_still_yanked() -> None:
    [(attributes, _text)] = Reader(render_page_html(page(replace(FILE, yanked="")))).anchors
    assert attributes["data-yanked"] == ""


def test_status_of_the_project() -> None:
    archived = replace(page(FILE), status="archived", status_reason='see "other" <here>')
    metas = Reader(render_page_html(archived)).metas
    assert metas["pypi:project-status"] == "archived"
    assert metas["pypi:project-status-reason"] == 'see "other" <here>'


@given(st.text(st.characters(exclude_categories=["Cs"]).filter(lambda char: char not in "\0\r"), max_size=80))
def test_no_text_leaves_its_attribute(text: str) -> None:
    read = Reader(render_page_html(page(replace(FILE, yanked=text, requires_python=text))))
    [(attributes, written)] = read.anchors
    assert attributes["data-yanked"] == attributes["data-requires-python"] == text
    assert written == FILE.filename
    assert read.tags == ["html", "head", "meta", "meta", "title", "body", "h1", "a", "br"]


def test_project_list() -> None:
    names = [ProjectName("a"), ProjectName("b-c")]
    assert [text for _, text in Reader(render_project_list_html(names)).anchors] == ["a", "b-c"]
    document = orjson.loads(render_project_list_json(names))
    assert document["projects"] == [{"name": "a"}, {"name": "b-c"}]
    assert document["meta"]["api-version"] == "1.4"


def release(version: str, yanked: str | None = None) -> PageFile:
    name = f"demo-{version}-py3-none-any.whl"
    return replace(FILE, filename=name, url=file_url(DEMO, version, name), yanked=yanked)


def test_newest_version_is_what_an_installer_takes() -> None:
    assert newest_version(page()) is None
    assert newest_version(page(release("1.0"), release("2.0"))) == "2.0"
    assert newest_version(page(release("1.0"), release("2.0rc1"))) == "1.0"
    assert newest_version(page(release("1.0"), release("2.0", yanked="bad"))) == "1.0"
    assert newest_version(page(release("1.0", yanked=""), release("2.0rc1"))) == "2.0rc1"
    assert newest_version(page(release("1.0", yanked=""))) == "1.0"


def test_project_json() -> None:
    sdist = replace(FILE, filename="demo-1.0.tar.gz", url=file_url(DEMO, "1.0", "demo-1.0.tar.gz"))
    facts = CoreMetadata("2.1", "Demo", "1.0", summary="a demo", requires_dist=("other>=1",), requires_python=">=3.9")
    whole = page(release("0.9", yanked="old"), FILE, sdist)
    document = orjson.loads(render_project_json(whole, facts, "1.0", "https://index.example/"))
    assert document["info"]["name"] == "Demo"
    assert document["info"]["requires_dist"] == ["other>=1"]
    assert document["info"]["requires_python"] == ">=3.9"
    assert not document["info"]["yanked"]
    assert list(document["releases"]) == ["0.9", "1.0"]
    assert document["releases"]["0.9"][0]["yanked_reason"] == "old"
    assert [(file["packagetype"], file["python_version"]) for file in document["urls"]] == [
        ("bdist_wheel", "py3"),
        ("sdist", "source"),
    ]
    assert document["urls"][1]["url"] == "https://index.example/packages/demo/1.0/demo-1.0.tar.gz"
    assert document["urls"][1]["digests"] == {"sha256": "a" * 64}
    assert document["urls"][1]["upload_time_iso_8601"] == "2026-11-23T10:00:00.000000Z"


def test_project_json_without_metadata_does_not_claim_no_dependencies() -> None:
    one = orjson.loads(render_project_json(page(FILE), None, "1.0", "/", every_release=False))
    assert one["info"]["requires_dist"] is None
    assert "releases" not in one
    known = orjson.loads(render_project_json(page(FILE), CoreMetadata("2.1", "demo", "1.0"), "1.0", "/"))
    assert known["info"]["requires_dist"] == []
