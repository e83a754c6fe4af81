"""Reading an upstream's project page (PEP 691 JSON). Pure: bytes in, files and what had to be left out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

import orjson

from assay.formats.pages import PageFile, file_url
from assay.model.digests import parse_sha256
from assay.model.distributions import Distribution, parse_distribution
from assay.model.errors import AssayError, UpstreamError
from assay.model.names import ProjectName

MAX_FILES = 50_000
MAX_TEXT_CHARS = 2_000

_PLAIN_ADDRESS = re.compile(r"https://[a-z0-9.-]+(?:/[A-Za-z0-9_~!$&'()*+,;=:@%-][A-Za-z0-9._~!$&'()*+,;=:@%-]*)+\Z")
"""An address that joining to another and cutting off a fragment leaves as it is."""


@dataclass(frozen=True, slots=True)
class UpstreamFile:
    """A file as the upstream shows it, in the shape of our own pages."""

    distribution: Distribution
    entry: PageFile


@dataclass(frozen=True, slots=True)
class UpstreamPage:
    """A page: the files that can be vouched for, and the names of those that cannot (no hash, no size, odd names)."""

    files: tuple[UpstreamFile, ...]
    left_out: tuple[str, ...]


def parse_upstream_page(data: bytes, project: ProjectName, url: str, now: datetime) -> UpstreamPage:
    """Read the page of ``project`` that came from ``url``. ``now`` stands in for a missing upload time.

    Raises UpstreamError when the page as a whole cannot be read.
    """
    try:
        return read_upstream_page(orjson.loads(data), project, url, now)
    except (ValueError, KeyError, TypeError) as error:
        raise UpstreamError(
            "the upstream's page is not PEP 691 JSON",
            subject=url,
            found=f"{type(error).__name__}: {error}",
            next_step="use an upstream that serves application/vnd.pypi.simple.v1+json",
        ) from error


def read_upstream_page(document: Mapping[str, Any], project: ProjectName, url: str, now: datetime) -> UpstreamPage:
    """As ``parse_upstream_page``, from JSON that is read already. Raises ValueError, KeyError, TypeError."""
    rows = document["files"]
    if not isinstance(rows, list) or len(rows) > MAX_FILES:
        raise ValueError(f"at most {MAX_FILES} files are read")
    files: dict[str, UpstreamFile] = {}
    left_out: list[str] = []
    for row in rows:
        try:
            file = _parse_file(row, project, url, now)
        except (AssayError, ValueError, KeyError, TypeError, AttributeError):
            left_out.append(str(row.get("filename", "?") if isinstance(row, dict) else "?")[:255])
        else:
            files.setdefault(file.entry.filename, file)
    return UpstreamPage(tuple(files.values()), tuple(left_out))


def _parse_file(row: dict[str, Any], project: ProjectName, url: str, now: datetime) -> UpstreamFile:
    distribution = parse_distribution(row["filename"], project)
    uploaded = row.get("upload-time")
    yanked = row.get("yanked", False)
    requires_python = row.get("requires-python")
    address = _address(row["url"], url)
    if len(address) > MAX_TEXT_CHARS:
        raise ValueError("not an address")
    entry = PageFile(
        filename=distribution.filename,
        url=file_url(project, distribution.version, distribution.filename),
        sha256=parse_sha256(row["hashes"]["sha256"]),
        size=_natural(row["size"]),
        upload_time=min(datetime.fromisoformat(uploaded).astimezone(UTC), now) if uploaded else now,
        requires_python=str(requires_python)[:MAX_TEXT_CHARS] if requires_python else None,
        yanked=None if yanked is False else ("" if yanked is True else str(yanked)[:MAX_TEXT_CHARS]),
        core_metadata=_sidecar(row),
        upstream_url=address,
        upstream_provenance=_provenance(row, url),
    )
    return UpstreamFile(distribution, entry)


def _address(text: str, base: str) -> str:
    """Where ``text``, found on the page ``base``, leads. Raises ValueError for what is no web address."""
    if _PLAIN_ADDRESS.match(text):
        return text
    found, _ = urldefrag(urljoin(base, text))
    if urlsplit(found).scheme not in ("http", "https"):
        raise ValueError("not an address")
    return found


def _natural(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError("not a size")
    return value


def _provenance(row: dict[str, Any], url: str) -> str | None:
    """Where the upstream says the file's provenance is (PEP 740)."""
    value = row.get("provenance")
    if not isinstance(value, str):
        return None
    address = urljoin(url, value)
    return address if urlsplit(address).scheme in ("http", "https") and len(address) <= MAX_TEXT_CHARS else None


def _sidecar(row: dict[str, Any]) -> Any:
    """The sidecar's hash (PEP 714 name first); an upstream that gives no hash for it counts as having none."""
    value = row.get("core-metadata", row.get("dist-info-metadata", False))
    return parse_sha256(value["sha256"]) if isinstance(value, dict) and "sha256" in value else None
