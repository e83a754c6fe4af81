"""Names of archive members: which are legal, and which are the same file on somebody's disk.

Two names are the same file if they differ only in letter case, Unicode form, or trailing dots and spaces (macOS and
Windows). A ``MemberPaths`` that accepted every member of an archive proves that extraction writes each path once, in
every order, on every file system, and never through a link.
"""

import re
import unicodedata
from enum import Enum

from assay.formats.limits import InspectionLimits
from assay.model.errors import InvalidDistribution, TooLarge

MAX_COMPONENT_BYTES = 255
_PLAIN = re.compile(r"\A[A-Za-z0-9_+=@~#,()\[\]{}!$%&'^;. /-]+\Z")
"""Names that need no look at the Unicode tables; ``:``, ``\\``, ``<>|?*"`` and controls are not among them."""
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


class PathKind(Enum):
    """What a path of the archive is, given or implied by a longer path."""

    FILE = "a file"
    SYMBOLIC_LINK = "a symbolic link"
    HARD_LINK = "a hard link"
    DIRECTORY = "a directory"
    PARENT = "the parent of another member"


def check_member_path(path: str, limits: InspectionLimits) -> None:
    """Raise InvalidDistribution unless ``path`` (without a directory's final slash) is relative, plain and printable.

    Legal: components separated by single ``/``, none of them ``.`` or ``..``, none over 255 bytes in UTF-8. Illegal
    anywhere: backslash and colon (Windows paths, drives, alternate streams), control and format characters. Raises
    TooLarge beyond ``limits.max_path_bytes``.
    """
    encoded_bytes = len(path) if path.isascii() else len(path.encode("utf-8", "surrogatepass"))
    if encoded_bytes > limits.max_path_bytes:
        raise TooLarge(
            "member name is too long",
            rule="archive-path-length",
            subject=shown(path),
            expected=f"at most {limits.max_path_bytes} bytes",
            found=f"{encoded_bytes} bytes",
        )
    if not _PLAIN.match(path):
        _check_characters(path)
    for component in path.split("/"):
        if not component.strip(". "):
            raise InvalidDistribution(
                "member name is not a plain relative path",
                rule="archive-path",
                subject=shown(path),
                expected="no component that is empty, '.', '..' or only dots and spaces",
                found=repr(component),
            )
        if len(component) > MAX_COMPONENT_BYTES or len(component.encode()) > MAX_COMPONENT_BYTES:
            raise InvalidDistribution(
                "a component of the member name is too long",
                rule="archive-path-component",
                subject=shown(path),
                expected=f"at most {MAX_COMPONENT_BYTES} bytes",
            )


def shown(path: str) -> str:
    """``path`` as it may stand in a message: printable, at most about 200 characters."""
    text = path if len(path) <= 200 else f"{path[:197]}..."
    return text if text.isprintable() else ascii(text)


def _check_characters(path: str) -> None:
    for char in path:
        if char in "\\:" or unicodedata.category(char) in _UNPRINTABLE:
            raise InvalidDistribution(
                "member name contains a character that systems read differently",
                rule="archive-path-character",
                subject=shown(path),
                expected="no backslash, colon, control or format character",
                found=ascii(char),
            )


def collision_key(path: str) -> str:
    """Equal for paths that are one file where letter case, Unicode form, trailing dots and spaces do not count."""
    folded = path.lower() if path.isascii() else _fold(path)
    if "." not in folded and " " not in folded:
        return folded
    return "/".join(component.rstrip(". ") for component in folded.split("/"))


def _fold(path: str) -> str:
    """Canonical caseless form (Unicode 16, section 3.13, D145)."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


class MemberPaths:
    """The paths of one archive so far. Each ``add`` refuses what could overwrite, or write through, an earlier one."""

    def __init__(self, limits: InspectionLimits) -> None:
        self._limits = limits
        self._seen: dict[str, tuple[PathKind, str]] = {}

    def add(self, path: str, kind: PathKind) -> None:
        """Take in ``path`` (no final slash). Raises InvalidDistribution naming the path that it collides with."""
        check_member_path(path, self._limits)
        key = collision_key(path)
        earlier = self._seen.get(key)
        if earlier is not None and not (earlier[0] is PathKind.PARENT and kind is PathKind.DIRECTORY):
            rule = "archive-duplicate" if earlier[1] == path else "archive-collision"
            raise _collision(path, earlier, rule)
        self._seen[key] = (kind, path)
        self._add_parents(path, key)

    def _add_parents(self, path: str, key: str) -> None:
        while (cut := key.rfind("/")) >= 0:
            key, path = key[:cut], path[: path.rfind("/")]
            earlier = self._seen.get(key)
            if earlier is None:
                self._seen[key] = (PathKind.PARENT, path)
            elif earlier[0] not in {PathKind.DIRECTORY, PathKind.PARENT}:
                raise _collision(path, earlier, "archive-collision")
            else:
                return


def _collision(path: str, earlier: tuple[PathKind, str], rule: str) -> InvalidDistribution:
    kind, other = earlier
    same = "the same name" if other == path else "the same name on some file systems"
    return InvalidDistribution(
        f"two members have {same}",
        rule=rule,
        subject=shown(path),
        found=f"{shown(other)} as {kind.value}",
    )
