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
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
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
_FORMAT: Final = 2


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


@dataclass(frozen=True, slots=True)
class _Answer:
    """What pip said. ``files``: what it depends on, there or not."""

    entries: Mapping[str, str]
    built_in: str | None
    files: tuple[str, ...]


def discover_indexes(environ: Mapping[str, str], cache_folder: Path) -> tuple[str, ...]:
    """``default_indexes`` of pip as it is configured here. Raises OperatorError when it is there and says nothing."""
    return default_indexes(ask_pip(environ, cache_folder), environ)


def default_indexes(pip: PipSettings, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The indexes that installers ask by default here, credentials removed, the effective one of pip first.

    pip's effective index, the others that its configuration names, its built-in one, uv's from the environment; http
    and https only.
    """
    named = [*pip.index_urls, pip.built_in or "", *(_uv_url(environ.get(name, "")) for name in UV_DEFAULT_VARIABLES)]
    return tuple(dict.fromkeys(without_credentials(url) for url in named if is_remote(url)))


def ask_pip(environ: Mapping[str, str], cache_folder: Path, own_python: str = sys.executable) -> PipSettings:
    """pip's settings: its files (kept in ``cache_folder``), overlaid with ``environ``. Raises OperatorError.

    The pip that a command would start: python3's, else the one on PATH, else ``own_python``'s. Without any, uv is
    asked.
    """
    bare = {name: value for name, value in environ.items() if not name.upper().startswith("PIP_")}
    if "PIP_CONFIG_FILE" in environ:
        bare["PIP_CONFIG_FILE"] = str(Path(environ["PIP_CONFIG_FILE"]).absolute())
    programs = {name: shutil.which(name, path=environ.get("PATH", os.defpath)) for name in ("python3", "pip", "uv")}
    programs["own"] = own_python
    path = cache_folder / f"pip-{_cache_key(programs, bare)}.json"
    answer = _read_kept(path)
    if answer is None:
        answer = _ask(programs, bare)
        _keep(path, answer)
    return _overlay(answer, environ)


def is_remote(url: str) -> bool:
    """Does ``url`` lead over the network, so that the proxy sees it?"""
    return url.lower().startswith(("http://", "https://"))


def without_credentials(url: str) -> str:
    """``url`` without user name and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _uv_url(value: str) -> str:
    """``UV_DEFAULT_INDEX`` may be ``name=url``."""
    name, equals, url = value.partition("=")
    return url if equals and "/" not in name else value


def _ask(programs: Mapping[str, str | None], environ: Mapping[str, str]) -> _Answer:
    """Ask the first pip that there is, else uv."""
    folders: list[str] = []
    for name in ("python3", "pip", "own"):
        program = programs[name]
        if program is None:
            continue
        if name == "pip":
            return _ask_pip([program], environ, folders)
        folder, has_pip = _look_for_pip(program, environ)
        folders.append(folder)
        if has_pip:
            return _ask_pip([program, "-m", "pip"], environ, folders)
    return _Answer({}, _ask_uv(programs["uv"], environ), tuple(folders))


def _look_for_pip(python: str, environ: Mapping[str, str]) -> tuple[str, bool]:
    """The folder in which ``python`` keeps packages (it changes when pip comes or goes), and whether pip is there."""
    probe = (
        "import sysconfig, importlib.util as u; print(sysconfig.get_path('purelib'), u.find_spec('pip') is not None)"
    )
    try:
        folder, _, has_pip = _run([python, "-c", probe], environ).strip().rpartition(" ")
    except OperatorError:  # a name on PATH with no Python behind it
        return python, False
    return folder, has_pip == "True"


def _ask_pip(pip: Sequence[str], environ: Mapping[str, str], folders: Sequence[str]) -> _Answer:
    # pip wraps its help at the terminal's width, in the middle of a URL.
    wide = dict(environ) | {"COLUMNS": "4000", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONUTF8": "1", "NO_COLOR": "1"}
    questions = (["install", "--isolated", "--help"], ["config", "list"], ["config", "debug"])
    with ThreadPoolExecutor(len(questions)) as pool:
        help_text, listing, debug = pool.map(lambda question: _run([*pip, *question], wide), questions)
    built_in = _BUILT_IN.search(help_text)
    files = (*_CONFIG_FILE.findall(debug), *folders)
    return _Answer(parse_config_list(listing), built_in.group(1) if built_in else None, files)


def _ask_uv(uv: str | None, environ: Mapping[str, str]) -> str | None:
    """uv's built-in index, which is pip's too."""
    found = _BUILT_IN_OF_UV.search(_run([uv, "--no-config", "help", "pip", "install"], environ)) if uv else None
    return found.group(1) if found else None


def _run(command: Sequence[str], environ: Mapping[str, str]) -> str:
    """What ``command`` prints. Started at the root, so that nothing in the working folder is imported by Python."""
    try:
        done = subprocess.run(
            command,
            check=False,
            env=environ,
            cwd=Path.cwd().anchor,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PIP_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _silent(command, str(error)) from error
    if done.returncode != 0:
        raise _silent(command, done.stderr.decode("utf-8", "replace").strip()[-300:])
    return done.stdout.decode("utf-8", "replace")


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


def _overlay(answer: _Answer, environ: Mapping[str, str]) -> PipSettings:
    """pip's order: environment (an empty variable does not count), the command's section, the global one."""
    entries = answer.entries

    def values(key: str) -> list[str]:
        sections = [name for name in entries if name.endswith(f".{key}")]
        sections.sort(key=lambda name: _SECTION_ORDER.get(name.partition(".")[0], len(_SECTION_ORDER)))
        from_environ = environ.get("PIP_" + key.upper().replace("-", "_"), "")
        return [value for value in (from_environ, *(entries[name] for name in sections)) if value.strip()]

    return PipSettings(
        built_in=answer.built_in,
        index_urls=tuple(dict.fromkeys(value.strip() for value in values("index-url"))),
        extra_index_urls=tuple(dict.fromkeys(" ".join(values("extra-index-url")[:1]).split())),
        find_links=tuple(dict.fromkeys(" ".join(values("find-links")[:1]).split())),
    )


def _cache_key(programs: Mapping[str, str | None], environ: Mapping[str, str]) -> str:
    deciding = {name: environ.get(name, "") for name in _DECIDING_VARIABLES}
    found = {name: [path, os.path.realpath(path), _modified(path)] for name, path in programs.items() if path}
    return sha256(orjson.dumps([_FORMAT, found, deciding], option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def _modified(path: str) -> int | None:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return None


def _read_kept(path: Path) -> _Answer | None:
    """What was kept, unless one of its files changed since, or it is not ours."""
    try:
        kept = orjson.loads(path.read_bytes())
        if any(_modified(name) != modified for name, modified in kept["files"].items()):
            return None
        return _Answer(dict(kept["entries"]), kept["built_in"], tuple(kept["files"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _keep(path: Path, answer: _Answer) -> None:
    """Keep the answer; where that fails, pip is asked again next time."""
    files = {name: _modified(name) for name in answer.files}
    document = {"entries": answer.entries, "built_in": answer.built_in, "files": files}
    with suppress(StorageUnavailable):
        durable.make_folder(path.parent, mode=0o700)
        durable.write_file(path, orjson.dumps(document), mode=0o600)


def _silent(command: Sequence[str], found: str) -> OperatorError:
    return OperatorError(
        "pip does not say which index it is configured for",
        rule="pip-settings",
        subject=" ".join(command[:4]),
        found=found,
        next_step="run this command yourself, or name the covered indexes in assay.toml",
    )
