"""entry_points.txt: the scripts that installers write (entry points specification).

One line, one thing: a group, ``name = value``, a ``#`` comment or nothing. Continued lines, ``;`` comments, repeated
groups and repeated names are refused, because readers merge, drop or reject them. Names of scripts are plain words that
cannot leave the scripts folder or replace the interpreter; values of scripts are importable objects, not other code.
"""

import re
from typing import Final

from assay.formats.archive_paths import shown
from assay.model.errors import InvalidDistribution

SCRIPT_GROUPS: Final = ("console_scripts", "gui_scripts")

_GROUP = re.compile(r"\[([^\s\[\]](?:[^\[\]]*[^\s\[\]])?)\]\s*\Z")
_PAIR = re.compile(r"([^\s=\[#;][^=]*?)\s*=\s*(\S(?:.*\S)?)\s*\Z")
_SCRIPT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\Z")
_RESERVED_NAME = re.compile(
    r"(?:pythonw?[0-9.]*|pydoc[0-9.]*|(?:de)?activate(?:[._].*)?|pyvenv\.cfg)(?:\.exe)?\Z", re.IGNORECASE
)
_OBJECT = re.compile(
    r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*\s*:\s*[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?:\s*\[[\w.,\s-]*\])?\Z", re.ASCII
)


def parse_script_names(data: bytes, subject: str) -> tuple[str, ...]:
    """The names of all console and GUI scripts in ``data``, as written; ``check_script_name`` is the caller's.

    Raises InvalidDistribution naming ``subject``.
    """
    scripts: list[str] = []
    groups: dict[str, set[str]] = {}
    group: str | None = None
    for line in _lines(data, subject):
        if not line.strip() or line.startswith("#"):
            continue
        if header := _GROUP.match(line):
            group = header.group(1)
            if group in groups:
                raise _refused(subject, "the group stands twice", group)
            groups[group] = set()
            continue
        pair = _PAIR.match(line)
        if pair is None or group is None:
            raise _refused(subject, "neither a group nor 'name = value'", line)
        name, value = pair.groups()
        if name in groups[group]:
            raise _refused(subject, "the entry point stands twice", name)
        groups[group].add(name)
        if group in SCRIPT_GROUPS:
            if not _OBJECT.match(value):
                raise _refused(subject, "the script's value is not 'module:object'", value)
            scripts.append(name)
    return tuple(scripts)


def check_script_name(name: str, subject: str) -> None:
    """Raise InvalidDistribution unless ``name`` is a plain word that shadows no part of a virtual environment."""
    if not _SCRIPT_NAME.match(name) or _RESERVED_NAME.match(name):
        raise InvalidDistribution(
            "not a safe name for a script",
            rule="wheel-script",
            subject=shown(subject),
            expected="letters, digits and _ . + -, and no name of the interpreter's own",
            found=ascii(name[:100]),
        )


def _lines(data: bytes, subject: str) -> list[str]:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refused(subject, "not UTF-8", str(error)) from error
    lines = text.replace("\r\n", "\n").split("\n")
    for line in lines:
        if not line.replace("\t", " ").isprintable():
            raise _refused(subject, "a control character", line)
    return lines


def _refused(subject: str, what: str, found: str) -> InvalidDistribution:
    return InvalidDistribution(what, rule="wheel-entry-points", subject=shown(subject), found=ascii(found[:100]))
