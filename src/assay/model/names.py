"""Project names. A ``ProjectName`` is proof that the text was normalised (PEP 503) and is legal (PEP 508)."""

import re
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NewType

from assay.model.errors import InvalidName, NotAllowed

ProjectName = NewType("ProjectName", str)

MAX_NAME_CHARS = 100
POLICY_PROJECT = ProjectName("assay-policy")
"""Its releases are the organisation's policy: administrators register it, and it never comes from an upstream."""
_LEGAL = re.compile(r"\A[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\Z")
_RUNS = re.compile(r"[-_.]+")
_OF_OTHER_PYTHONS = (
    *("aifc", "asynchat", "asyncore", "audioop", "cgi", "cgitb", "chunk", "crypt", "distutils", "imghdr", "imp"),
    *("lib2to3", "mailcap", "msilib", "nis", "nntplib", "ossaudiodev", "pipes", "smtpd", "sndhdr", "spwd", "sunau"),
    *("telnetlib", "uu", "xdrlib", "annotationlib", "compression", "profiling", "tomllib"),
)
"""Modules that the standard library has had, or has, between Python 3.11 and 3.15, whichever runs this."""
_STANDARD_LIBRARY = frozenset(module.lower() for module in (*sys.stdlib_module_names, *_OF_OTHER_PYTHONS))
_CONFUSABLE = str.maketrans({"l": "1", "i": "1", "o": "0"})


def parse_project_name(text: str) -> ProjectName:
    """Normalise ``text`` as PEP 503 says. Raises InvalidName unless legal (PEP 508, at most 100 characters)."""
    if len(text) > MAX_NAME_CHARS or not _LEGAL.match(text):
        raise InvalidName(
            "not a legal project name",
            subject=repr(text[:MAX_NAME_CHARS]),
            expected="ASCII letters, digits, '.', '_', '-', starting and ending with a letter or digit",
            next_step="rename the project (PEP 508)",
        )
    return ProjectName(_RUNS.sub("-", text).lower())


def confusable_skeleton(name: ProjectName) -> str:
    """Two names with the same skeleton look alike: separators dropped, ``l``/``i`` as ``1``, ``o`` as ``0``."""
    return name.replace("-", "").translate(_CONFUSABLE)


def require_registrable(name: ProjectName, confusable: ProjectName | None, prohibited: Sequence[str] = ()) -> None:
    """Raise NotAllowed for a name that a new project may not take.

    ``confusable``: an existing project whose name looks the same (``confusable_skeleton``), None where there is none.
    ``prohibited``: globs of names that the operator gives to nobody.
    """
    if any(fnmatchcase(name, glob) for glob in prohibited):
        raise NotAllowed("this name is given to nobody here", subject=name, rule="name-prohibited")
    if name.replace("-", "_") in _STANDARD_LIBRARY:
        raise NotAllowed("the name of a standard-library module", subject=name, rule="name-standard-library")
    if confusable is not None:
        raise NotAllowed("too similar to an existing project", subject=name, rule="name-confusable", found=confusable)
