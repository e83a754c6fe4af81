"""``requirements.txt`` with ``--hash`` options, as pip reads it: continuation lines, comments, options.

Files that it includes are not followed: each is named on the command line, so that a report names what was read.
"""

import re
from collections.abc import Iterator
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement

from assay.client.lock.entries import Locked, LockText

_HASH: Final = re.compile(r"--hash[= ]\s*(\S+)")
_COMMENT: Final = re.compile(r"(^|\s)#.*$")
_EXACT: Final = ("==", "===")


def read_requirements(lock: LockText) -> Iterator[Locked]:
    """Every hash of every requirement. Raises CallerError naming the line."""
    for lines in _logical_lines(lock.text):
        number, text = lines[0][0], " ".join(line for _, line in lines).strip()
        if not text or (text.startswith("-") and not text.startswith(("-e", "--editable", "-r", "--requirement"))):
            continue
        if text.startswith("-"):
            words = text.replace("=", " ").split()
            meaning = "an editable install" if words[0] in ("-e", "--editable") else "a file of its own: name it, too"
            yield Locked(number, words[-1], elsewhere=meaning)
            continue
        yield from _requirement(lock, number, re.split(r"\s--", text)[0].strip(), lines)


def _requirement(lock: LockText, number: int, text: str, lines: list[tuple[int, str]]) -> Iterator[Locked]:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        if "/" in text or text.endswith((".whl", ".tar.gz", ".zip")):
            yield Locked(number, text, elsewhere="a path or URL")
            return
        raise lock.refused(f"not a requirement: {text[:80]!r}", number) from error
    if requirement.url is not None:
        yield Locked(number, requirement.name, elsewhere=requirement.url)
        return
    exact = [one.version for one in requirement.specifier if one.operator in _EXACT and "*" not in one.version]
    version = exact[0] if len(exact) == 1 else None
    hashes = [(line, found) for line, words in lines for found in _HASH.findall(words)]
    if not hashes:
        yield Locked(number, requirement.name, version)
    for line, digest in hashes:
        yield Locked(line, requirement.name, version, digest=digest)


def _logical_lines(text: str) -> Iterator[list[tuple[int, str]]]:
    """Lines joined at a backslash, each part with its number."""
    joined: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        continued = line.endswith("\\") and not line.lstrip().startswith("#")
        joined.append((number, _COMMENT.sub("", line[:-1] if continued else line)))
        if not continued:
            yield joined
            joined = []
    if joined:
        yield joined
