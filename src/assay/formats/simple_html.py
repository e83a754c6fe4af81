"""The simple API's renderings beside the canonical page: the page as HTML, the project list as HTML and JSON.

Invariant: the HTML says nothing that the JSON page does not say, and every text that came from outside is escaped.
Sources: PEP 503 (form), 592 (yanked), 629 (repository version), 658 and 714 (metadata sidecar), 691 (list), 740
(provenance), 792 (project status).
"""

from collections.abc import Iterable
from html import escape
from typing import Final

import orjson

from assay.formats.pages import API_VERSION, PageFile, ProjectPage, provenance_url
from assay.model.names import ProjectName

_HEAD: Final = (
    '<!DOCTYPE html>\n<html lang="en">\n  <head>\n    <meta charset="utf-8">\n'
    f'    <meta name="pypi:repository-version" content="{API_VERSION}">\n'
)
_TAIL: Final = "  </body>\n</html>\n"


def render_page_html(page: ProjectPage) -> bytes:
    """``page`` as UTF-8 HTML, for both HTML types of the simple API. File URLs stay relative to the page."""
    lines = [_HEAD]
    if page.status != "active":
        lines.append(_meta("pypi:project-status", page.status))
        if page.status_reason:
            lines.append(_meta("pypi:project-status-reason", page.status_reason))
    title = f"Links for {escape(page.project)}"
    lines.append(f"    <title>{title}</title>\n  </head>\n  <body>\n    <h1>{title}</h1>\n")
    lines.extend(_anchor(file) for file in page.files)
    lines.append(_TAIL)
    return "".join(lines).encode()


def render_project_list_html(projects: Iterable[ProjectName]) -> bytes:
    """The project list as UTF-8 HTML, in the order given; links are relative to ``/simple/``."""
    lines = [_HEAD, "    <title>Simple index</title>\n  </head>\n  <body>\n"]
    lines.extend(f'    <a href="{escape(name)}/">{escape(name)}</a><br>\n' for name in projects)
    lines.append(_TAIL)
    return "".join(lines).encode()


def render_project_list_json(projects: Iterable[ProjectName]) -> bytes:
    """The project list as PEP 691 JSON, in the order given."""
    document = {"meta": {"api-version": API_VERSION}, "projects": [{"name": name} for name in projects]}
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def _meta(name: str, content: str) -> str:
    return f'    <meta name="{name}" content="{escape(content)}">\n'


def _anchor(file: PageFile) -> str:
    attributes = {"href": f"{file.url}#sha256={file.sha256}"}
    if file.requires_python is not None:
        attributes["data-requires-python"] = file.requires_python
    if file.yanked is not None:
        attributes["data-yanked"] = file.yanked
    if file.core_metadata is not None:
        attributes["data-core-metadata"] = f"sha256={file.core_metadata}"
        attributes["data-dist-info-metadata"] = f"sha256={file.core_metadata}"
    if file.signature is not None:
        attributes["data-gpg-sig"] = "true"
    if file.provenance is not None:
        attributes["data-provenance"] = provenance_url(file)
    written = " ".join(f'{name}="{escape(value)}"' for name, value in attributes.items())
    return f"    <a {written}>{escape(file.filename)}</a><br>\n"
