"""Ways around the proxy that no environment variable closes: uv's configuration files and options of the command line.

What comes from this machine's disk never crosses the network, so the proxy cannot see it. Such a command is not
started, unless ``--allow-detours`` says that it may; then every detour is named afterwards.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from assay.client.discover import is_remote
from assay.model.errors import RefusedByPolicy

MAX_CONFIG_BYTES: Final = 4_000_000
UV_PROGRAMS: Final = ("uv", "uvx")
_PIP: Final = re.compile(r"pip[0-9.]*|pip-sync|pip-compile|pipx")

_OWN_WAY_OUT: Final = ("http-proxy", "https-proxy", "no-proxy")
_OPTIONS: Final = {
    "--find-links": "files from there are not verified",
    "--cache-dir": "what that cache holds already is not verified",
    "--isolated": "pip then ignores the private cache of this run",
    "--no-index": "what is installed then comes from this machine and is not verified",
    "--proxy": "the command leaves by another proxy",
    "--config-file": "settings in that file may lead around the proxy",
}


@dataclass(frozen=True, slots=True)
class Detour:
    """A setting in uv's configuration ``file``. ``of_project``: it is the project's, not the machine's or user's."""

    file: Path
    setting: str
    of_project: bool

    def __str__(self) -> str:
        return f"{self.setting} in {self.file}"


def uv_detours(environ: Mapping[str, str], working_folder: Path) -> tuple[Detour, ...]:
    """The settings by which uv, started in ``working_folder``, would take files from disk or another way out.

    A file that is not TOML is left to uv, which stops there.
    """
    return tuple(
        Detour(path, setting, of_project)
        for path, of_project in _uv_files(environ, working_folder)
        for setting in _detours_in(_read(path))
    )


def require_no_detour(command: Sequence[str], detours: Iterable[Detour], others: Sequence[str]) -> None:
    """Raise RefusedByPolicy when a configuration leads ``command`` astray that is uv, or one of ``others`` does."""
    if Path(command[0]).name in UV_PROGRAMS and "--no-config" not in command:
        for detour in detours:
            raise RefusedByPolicy(
                "uv's configuration leads around verification",
                rule="detour",
                subject=str(detour.file),
                found=detour.setting,
                next_step="remove the setting, or set UV_NO_CONFIG=1, or --allow-detours; nothing was run",
            )
    for other in others:
        raise RefusedByPolicy(
            "the command would take files that nobody verified",
            rule="detour",
            found=other,
            next_step="leave it out; or `assay run --allow-detours` if these files are yours; nothing was run",
        )


def is_pip(command: Sequence[str]) -> bool:
    """Is ``command`` pip, by itself or by a Python, or one of the programs that take its options?"""
    return any(_PIP.fullmatch(Path(word).name) for word in command[:3])


def is_installer(command: Sequence[str]) -> bool:
    """Is ``command`` pip or uv?"""
    return is_pip(command) or Path(command[0]).name in UV_PROGRAMS


def option_detours(command: Sequence[str]) -> tuple[str, ...]:
    """The options of ``command``, where it is pip or uv, that lead around the proxy, in words."""
    if not is_installer(command):
        return ()
    found = {}
    for index, word in enumerate(command):
        option, equals, value = word.partition("=")
        if not equals:
            value = next(iter(command[index + 1 : index + 2]), "")
        option = "--find-links" if option == "-f" else option
        is_harmless = is_remote(value) if option == "--find-links" else option == "--isolated" and not is_pip(command)
        if option in _OPTIONS and not is_harmless:
            found[option] = _OPTIONS[option]
    return tuple(f"{option}: {meaning}" for option, meaning in found.items())


def _uv_files(environ: Mapping[str, str], working_folder: Path) -> Iterator[tuple[Path, bool]]:
    """uv's configuration files that exist, each with whether it belongs to the project."""
    if environ.get("UV_NO_CONFIG", "").lower() in ("1", "true", "yes", "on"):
        return
    if "UV_CONFIG_FILE" in environ:
        yield Path(environ["UV_CONFIG_FILE"]), False
        return
    for folder in (working_folder, *working_folder.parents):
        for name in ("uv.toml", "pyproject.toml"):
            if (folder / name).is_file():
                yield folder / name, True
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    folders = [environ.get("XDG_CONFIG_HOME") or str(home / ".config"), environ.get("APPDATA")]
    folders += (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    folders += ["/etc", environ.get("PROGRAMDATA")]
    for name in dict.fromkeys(name for name in folders if name):
        path = Path(name, "uv", "uv.toml")
        if path.is_file():
            yield path, False


def _read(path: Path) -> Mapping[str, object]:
    """uv's table of ``path``; empty when there is none."""
    try:
        with path.open("rb") as stream:
            document = tomllib.loads(stream.read(MAX_CONFIG_BYTES).decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return _table(_table(document, "tool"), "uv") if path.name == "pyproject.toml" else document


def _detours_in(table: Mapping[str, object]) -> Iterator[str]:
    for part in (table, _table(table, "pip")):
        for key in ("find-links", "index-url", "extra-index-url"):
            for url in _texts(part.get(key)):
                if not is_remote(url):
                    yield f"{key} {url}"
        indexes = part.get("index")
        for index in indexes if isinstance(indexes, list) else ():
            place = index.get("url") if isinstance(index, dict) else None
            if isinstance(place, str) and not is_remote(place):
                yield f"index {place}"
    for key in _OWN_WAY_OUT:
        if key in table:
            yield key


def _table(document: Mapping[str, object], key: str) -> Mapping[str, object]:
    """The table under ``key``; empty when there is none."""
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, str)]
