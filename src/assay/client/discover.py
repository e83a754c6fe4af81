"""Which index pip is configured for on this machine: asked of pip itself, because only pip knows all its files.

The default index is nobody's to guess: ``pip install --isolated --help`` prints the one that is built in, ``pip config
list`` what the configuration files say, ``pip config debug`` which files those are. Starting pip costs a third of a
second, so the answer is kept until pip or one of these files changes. Environment variables are read afresh every time.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import orjson

from assay import durable
from assay.model.errors import OperatorError, StorageUnavailable

PIP_TIMEOUT_S: Final = 60
UV_DEFAULT_VARIABLES: Final = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")

_BUILT_IN: Final = re.compile(r"--index-url <url>.*?\(default:?\s+(https?://[^\s()]+)\)", re.DOTALL)
_BUILT_IN_OF_UV: Final = re.compile(r"\(by\s+default:\s+<(https?://[^\s>]+)>\)")
_CONFIG_FILE: Final = re.compile(r"^\s+(.+), exists: (?:True|False)\s*$", re.MULTILINE)
_DECIDING_VARIABLES: Final = ("HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "APPDATA", "PROGRAMDATA", "PIP_CONFIG_FILE")
_SECTION_ORDER: Final = {"install": 0, "global": 1}
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class PipSettings:
    """What pip would use here. URLs as they are written, credentials included: never print them.

    ``built_in``: pip's own default index (uv's, where there is no pip), None when unknown. ``index_urls``: what
    configuration puts in its place, in order of precedence.
    """

    built_in: str | None = None
    index_urls: tuple[str, ...] = ()
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()

    @property
    def effective_index_url(self) -> str | None:
        """The index that ``pip install`` asks when nothing is said on its command line."""
        return self.index_urls[0] if self.index_urls else self.built_in


def discover_indexes(environ: Mapping[str, str], cache_folder: Path) -> tuple[str, ...]:
    """The indexes that installers ask by default here, credentials removed, the effective one of pip first.

    pip's effective index, the others that its configuration names, its built-in one, uv's from the environment; http
    and https only. Raises OperatorError when pip is there but does not answer.
    """
    pip = ask_pip(environ, cache_folder)
    named = [*pip.index_urls, pip.built_in or "", *(_uv_url(environ.get(name, "")) for name in UV_DEFAULT_VARIABLES)]
    return tuple(dict.fromkeys(without_credentials(url) for url in named if is_remote(url)))


def ask_pip(environ: Mapping[str, str], cache_folder: Path, own_python: str = sys.executable) -> PipSettings:
    """pip's settings: its files (kept in ``cache_folder``), overlaid with ``environ``. Raises OperatorError."""
    command = find_pip(environ, own_python)
    if command is None:
        return _overlay({}, _ask_uv(environ), environ)
    bare = {name: value for name, value in environ.items() if not name.upper().startswith("PIP_")}
    if "PIP_CONFIG_FILE" in environ:
        bare["PIP_CONFIG_FILE"] = environ["PIP_CONFIG_FILE"]
    path = cache_folder / f"pip-{_cache_key(command, bare)}.json"
    kept = _read_kept(path)
    if kept is None:
        kept = _ask(command, bare)
        _keep(path, *kept)
    return _overlay(kept[0], kept[1], environ)


def find_pip(environ: Mapping[str, str], own_python: str = sys.executable) -> tuple[str, ...] | None:
    """The pip that a command would start: python3's, the one on PATH, ``own_python``'s; None when there is none."""
    path = environ.get("PATH", os.defpath)
    python, pip = shutil.which("python3", path=path), shutil.which("pip", path=path)
    candidates: list[tuple[str, ...]] = [(python, "-m", "pip")] if python else []
    candidates += [(pip,)] if pip else []
    candidates.append((own_python, "-m", "pip"))
    for command in candidates:
        if len(command) == 1 or _has_pip(command[0]):
            return command
    return None


def is_remote(url: str) -> bool:
    """Does ``url`` lead over the network, so that the proxy sees it?"""
    return url.lower().startswith(("http://", "https://"))


def without_credentials(url: str) -> str:
    """``url`` without user name and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _has_pip(python: str) -> bool:
    """Whether ``python`` can import pip. Isolated, so that a folder named pip in the working directory is not run."""
    probe = "import importlib.util, sys; sys.exit(importlib.util.find_spec('pip') is None)"
    return (
        subprocess.run([python, "-I", "-c", probe], capture_output=True, timeout=PIP_TIMEOUT_S, check=False).returncode
        == 0
    )


def _uv_url(value: str) -> str:
    """``UV_DEFAULT_INDEX`` may be ``name=url``."""
    name, equals, url = value.partition("=")
    return url if equals and "/" not in name else value


def _ask(command: Sequence[str], environ: Mapping[str, str]) -> tuple[dict[str, str], str | None, list[str]]:
    """Configuration entries, built-in index, configuration files."""
    questions = (["install", "--isolated", "--help"], ["config", "list"], ["config", "debug"])
    # pip wraps its help at the terminal's width, in the middle of a URL.
    wide = dict(environ) | {"COLUMNS": "4000", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONUTF8": "1", "NO_COLOR": "1"}
    running = [
        subprocess.Popen(
            [*command, *question], env=wide, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for question in questions
    ]
    answers = []
    for question, process in zip(questions, running, strict=True):
        try:
            out, err = process.communicate(timeout=PIP_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.communicate()
            raise _silent(question, "no answer in time") from error
        if process.returncode != 0:
            raise _silent(question, err.decode("utf-8", "replace").strip()[-300:])
        answers.append(out.decode("utf-8", "replace"))
    help_text, listing, debug = answers
    built_in = _BUILT_IN.search(help_text)
    return parse_config_list(listing), built_in.group(1) if built_in else None, _CONFIG_FILE.findall(debug)


def _ask_uv(environ: Mapping[str, str]) -> str | None:
    """The built-in index of uv, which is pip's too; None where there is no uv either."""
    uv = shutil.which("uv", path=environ.get("PATH", os.defpath))
    if uv is None:
        return None
    try:
        done = subprocess.run(
            [uv, "--no-config", "help", "pip", "install"], capture_output=True, timeout=PIP_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _BUILT_IN_OF_UV.search(done.stdout.decode("utf-8", "replace"))
    return found.group(1) if found else None


def parse_config_list(listing: str) -> dict[str, str]:
    """``pip config list``: lines of ``section.key='value'``, the value as a Python literal. Other lines are skipped."""
    entries = {}
    for line in listing.splitlines():
        key, equals, literal = line.partition("=")
        try:
            value = ast.literal_eval(literal) if equals else None
        except (ValueError, SyntaxError):
            continue
        if isinstance(value, str):
            entries[key.strip()] = value
    return entries


def _overlay(entries: Mapping[str, str], built_in: str | None, environ: Mapping[str, str]) -> PipSettings:
    """pip's order: environment (an empty variable does not count), the command's section, the global one."""

    def values(key: str) -> list[str]:
        sections = [name for name in entries if name.endswith(f".{key}")]
        sections.sort(key=lambda name: _SECTION_ORDER.get(name.partition(".")[0], len(_SECTION_ORDER)))
        from_environ = environ.get("PIP_" + key.upper().replace("-", "_"), "")
        return [value for value in (from_environ, *(entries[name] for name in sections)) if value.strip()]

    return PipSettings(
        built_in=built_in,
        index_urls=tuple(dict.fromkeys(value.strip() for value in values("index-url"))),
        extra_index_urls=tuple(dict.fromkeys(" ".join(values("extra-index-url")[:1]).split())),
        find_links=tuple(dict.fromkeys(" ".join(values("find-links")[:1]).split())),
    )


def _cache_key(command: Sequence[str], environ: Mapping[str, str]) -> str:
    executable = Path(command[0])
    deciding = {name: environ.get(name, "") for name in _DECIDING_VARIABLES}
    facts = [_FORMAT, list(command), _modified(str(executable)), os.path.realpath(executable), deciding]
    return sha256(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def _modified(path: str) -> int | None:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return None


def _read_kept(path: Path) -> tuple[dict[str, str], str | None, list[str]] | None:
    """What was kept, unless one of pip's files changed since, or the file is not ours."""
    try:
        kept = orjson.loads(path.read_bytes())
        if any(_modified(name) != modified for name, modified in kept["files"].items()):
            return None
        return dict(kept["entries"]), kept["built_in"], list(kept["files"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _keep(path: Path, entries: dict[str, str], built_in: str | None, files: list[str]) -> None:
    """Keep the answer; where that fails, pip is asked again next time."""
    document = {"entries": entries, "built_in": built_in, "files": {name: _modified(name) for name in files}}
    try:
        durable.make_folder(path.parent, mode=0o700)
        durable.write_file(path, orjson.dumps(document), mode=0o600)
    except StorageUnavailable:
        return


def _silent(question: Sequence[str], found: str) -> OperatorError:
    return OperatorError(
        "pip does not say which index it is configured for",
        rule="pip-settings",
        subject="pip " + " ".join(question),
        found=found,
        next_step="run this command yourself, or name the covered indexes in assay.toml",
    )
