"""The child's environment: everything that installers read goes through the proxy, nothing around it.

A pure function. What pip or uv would read from this machine's disk instead of the network is left out; what leads to
another host stays, so that the proxy refuses it aloud instead of another index answering in its place.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from assay.client.discover import PipSettings, is_remote
from assay.client.proxy.routes import Covered
from assay.model.digests import Sha256

WAIT_S: Final = 3600
"""A file is sent after it was verified whole, so installers must be patient; the proxy has deadlines of its own."""

_PROXY_VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_CERTIFICATE_VARIABLES: Final = (
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PDM_PYPI_CA_CERTS",
)
_REMOVED: Final = (
    "SSL_CERT_DIR",
    "NO_PROXY",
    "FTP_PROXY",
    "UV_INSECURE_HOST",
    "UV_ALLOW_INSECURE_HOST",
    "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS",
    "UV_NO_VERIFY_HASHES",
    "UV_INSECURE_NO_ZIP_VALIDATION",
    "PIP_CLIENT_CERT",
    "PIP_NO_INDEX",
    "PIP_TRUSTED_HOST",
    "PIPENV_PIP_ARGS",
)
_NO_ENTRIES: Final = " "
"""pip ignores an empty variable; a blank one it splits into no entries, which replaces those of its files."""

_CACHES: Final = {
    "PIP_CACHE_DIR": "pip",
    "UV_CACHE_DIR": "uv",
    "POETRY_CACHE_DIR": "poetry",
    "PDM_CACHE_DIR": "pdm",
    "PIPENV_CACHE_DIR": "pipenv",
    "HATCH_CACHE_DIR": "hatch",
}
_TIMEOUTS: Final = (
    "PIP_DEFAULT_TIMEOUT",
    "UV_HTTP_TIMEOUT",
    "POETRY_REQUESTS_TIMEOUT",
    "PDM_REQUEST_TIMEOUT",
    "PIPENV_TIMEOUT",
)


@dataclass(frozen=True, slots=True)
class RunPlaces:
    """``certificates``: the file with the run's authority. ``caches``: private folder that lasts beyond the run."""

    certificates: Path
    caches: Path


@dataclass(frozen=True, slots=True)
class ChildEnvironment:
    """``variables`` for the child; ``left_out``: settings of the user that were not handed on, in words."""

    variables: Mapping[str, str]
    left_out: tuple[str, ...]


def cache_folder(root: Path, trust_root: Sha256, policy: Sha256, taken_down: Iterable[str]) -> Path:
    """Where the installers keep what they fetched under one trust root and one policy (threat B20).

    They install from there without asking anybody, so a takedown begins a new one.
    """
    key = " ".join((trust_root, policy, *sorted(taken_down)))
    return root / "installers" / sha256(key.encode()).hexdigest()[:32]


def child_environment(
    parent: Mapping[str, str], places: RunPlaces, proxy_url: str, covered: Covered, pip: PipSettings
) -> ChildEnvironment:
    """The environment for the child.

    ``parent`` is the user's. ``proxy_url`` has the run's credential in it. ``pip``: what pip's configuration says here.
    """
    removed = {*_REMOVED, *_PROXY_VARIABLES}
    child = {name: value for name, value in parent.items() if name.upper() not in removed}
    for name in _PROXY_VARIABLES:
        child[name] = child[name.lower()] = proxy_url
    child["NO_PROXY"] = child["no_proxy"] = ""
    child |= dict.fromkeys(_CERTIFICATE_VARIABLES, str(places.certificates))
    child |= {name: str(places.caches / folder) for name, folder in _CACHES.items()}
    child |= dict.fromkeys(_TIMEOUTS, str(WAIT_S))
    left_out: list[str] = []
    _set_pip(child, proxy_url, covered, pip, left_out)
    _set_uv(child, left_out)
    return ChildEnvironment(child, tuple(left_out))


def _set_pip(child: dict[str, str], proxy_url: str, covered: Covered, pip: PipSettings, left_out: list[str]) -> None:
    child["PIP_PROXY"] = proxy_url
    # pip takes a plain http index only where it is told to; a covered one is verified whatever carries it.
    plain = dict.fromkeys(base.origin.host for base in covered.bases() if base.origin.scheme == "http")
    child["PIP_TRUSTED_HOST"] = " ".join(plain) or _NO_ENTRIES
    child["PIP_NO_INDEX"] = "0"
    child["PIP_FIND_LINKS"] = " ".join(link for link in pip.find_links if is_remote(link)) or _NO_ENTRIES
    child["PIP_EXTRA_INDEX_URL"] = " ".join(url for url in pip.extra_index_urls if is_remote(url)) or _NO_ENTRIES
    left_out += [f"pip's find-links {link}" for link in pip.find_links if not is_remote(link)]
    left_out += [f"pip's extra-index-url {url}" for url in pip.extra_index_urls if not is_remote(url)]
    if pip.effective_index_url is not None and not is_remote(pip.effective_index_url):
        left_out.append(f"pip's index-url {pip.effective_index_url}")
        child["PIP_INDEX_URL"] = f"{covered.own_simple}/"


def _set_uv(child: dict[str, str], left_out: list[str]) -> None:
    """uv's own variables: what leads to this machine's disk is left out, the rest is for the proxy to judge."""
    for name in ("UV_FIND_LINKS", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        value = child.pop(name, "")
        entries = value.replace(",", " ").split() if name == "UV_FIND_LINKS" else value.split()
        remote = [entry for entry in entries if is_remote(_url_of(entry))]
        left_out += [f"{name} {entry}" for entry in entries if entry not in remote]
        if remote:
            child[name] = (",".join if name == "UV_FIND_LINKS" else " ".join)(remote)


def _url_of(entry: str) -> str:
    """uv's indexes may be written ``name=url``."""
    name, equals, url = entry.partition("=")
    return url if equals and "/" not in name else entry
