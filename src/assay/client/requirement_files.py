"""Requirements files that a command line names: what in them leads around the proxy.

pip and uv read options and addresses from these files, and a pull request may change them. What comes over the network
from there passes the proxy; what comes from this machine's disk or over another protocol does not.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from assay.client.detours import is_installer
from assay.client.discover import is_remote

MAX_FILES: Final = 50
MAX_BYTES: Final = 4_000_000

_NAMED: Final = re.compile(r"(?:-r|-c|--requirements?|--constraints?)(?:=|\s+)?(?P<path>.+)")
_FIND_LINKS: Final = re.compile(r"(?:-f|--find-links)(?:=|\s+)?(?P<place>.+)")
_ARCHIVE: Final = re.compile(r"\.(?:whl|tar\.gz|tgz|zip)(?:$|[\s;#\[])")
_COMMENT: Final = re.compile(r"(?:^|\s)#.*$")


def named_files(command: Sequence[str], working_folder: Path) -> list[Path]:
    """The requirements files that ``command`` names, and those that they name."""
    pending = [working_folder / path for path in _on_command_line(command)] if is_installer(command) else []
    found: list[Path] = []
    while pending and len(found) < MAX_FILES:
        path = pending.pop()
        if path in found or not path.is_file():
            continue
        found.append(path)
        pending += [path.parent / match["path"].strip() for line in _lines(path) if (match := _NAMED.fullmatch(line))]
    return found


def words_in(files: Sequence[Path]) -> list[str]:
    """Every line of the files, without comments."""
    return [line for path in files for line in _lines(path)]


def disk_detours(files: Sequence[Path]) -> tuple[str, ...]:
    """The lines by which an installer would take archives from this machine's disk, in words."""
    return tuple(f"{line} in {path}" for path in files for line in _lines(path) if _leads_to_disk(line))


def _leads_to_disk(line: str) -> bool:
    if match := _FIND_LINKS.fullmatch(line):
        return not is_remote(match["place"].strip())
    if line.startswith("-"):
        return False
    _, at, url = line.partition("@")
    place = url.strip() if at and "://" in url else line
    if place.startswith("file:"):
        return bool(_ARCHIVE.search(place))
    return "://" not in place and bool(_ARCHIVE.search(place))


def _on_command_line(command: Sequence[str]) -> Iterator[str]:
    for index, word in enumerate(command):
        if word in ("-r", "-c", "--requirement", "--requirements", "--constraint", "--constraints"):
            yield from command[index + 1 : index + 2]
        elif match := re.fullmatch(r"(?:-r|-c|--requirements?=|--constraints?=)(.+)", word):
            yield match[1]
        elif word.endswith((".txt", ".in")) and command[index - 1] == "sync":
            yield word


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return []  # the installer says so
    joined = re.sub(r"\\\r?\n", " ", text)
    return [line for raw in joined.splitlines() if (line := _COMMENT.sub("", raw).strip())]
