"""The text of a policy file (TOML) as a layer. What is not understood entirely is refused with its line.

A misspelt rule that is silently ignored is a rule that does not hold, so unknown keys, empty globs and legal values in
the wrong place are errors. Source: docs/policy.md.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import Any, Final, TypeVar

from assay.model.errors import CallerError
from assay.policy.model import Exemption, FirstSeen, Layer, Mode, Projects, Repository, Rule
from assay.policy.rules import KINDS, NotLegal, ReadFile
from assay.provenance.retired_keys import RetiredKeys

POLICY_FILENAME: Final = "assay-policy.toml"
MAX_POLICY_BYTES: Final = 1_000_000
ALL_KINDS: Final = "*"

_HOST: Final = re.compile(r"\A(?:\*\.)?[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*\Z")
_GLOB: Final = re.compile(r"\A[a-z0-9*?-]+\Z")
_GLOBS: Final = "globs of normalised project names"
_TOP: Final = ("mode", "allow_hosts", "first_seen", "retired_keys", "rules", "exemptions", "repositories")
_SCOPE: Final = ("projects", "except", "mode")

E = TypeVar("E", bound=Enum)


def parse_layer(data: bytes, name: str, source: str, read_file: ReadFile) -> Layer:
    """The layer that ``data`` says. ``name``: whose it is; ``source``: how errors call the file.

    ``read_file`` reads files that it names. Raises CallerError (``policy-file``) with the line of what is wrong.
    """
    return _Parser(data, name, source, read_file).layer()


def no_files(path: str) -> bytes:
    """The ``read_file`` of a policy that stands alone. Raises CallerError."""
    raise CallerError("this policy stands alone and can name no file", rule="policy-file", subject=path)


@dataclass(frozen=True, slots=True)
class _Place:
    """A table of the document, and the line that it begins on (1 for the top)."""

    table: Mapping[str, Any]
    line: int


class _Parser:
    def __init__(self, data: bytes, name: str, source: str, read_file: ReadFile) -> None:
        self._name, self._source, self._read_file = name, source, read_file
        if len(data) > MAX_POLICY_BYTES:
            raise self._bad(1, "the policy is too large", f"at most {MAX_POLICY_BYTES} bytes")
        try:
            text = data.decode("utf-8")
            self._document: Mapping[str, Any] = tomllib.loads(text)
        except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
            raise self._bad(1, "the policy file is not TOML", found=str(error)) from error
        self._lines = text.splitlines()

    def layer(self) -> Layer:
        top = _Place(self._document, 1)
        self._only(top, (*_TOP, "except", *KINDS))
        mode = self._choice(top, "mode", Mode) or Mode.ENFORCE
        if "except" in self._document and not any(key in self._document for key in KINDS):
            raise self._bad(self._line(top, "except"), "'except' without a rule beside it", "a rule for every project")
        rules = [*self._rules(top, mode), *(rule for row in self._rows("rules") for rule in self._row(row, mode))]
        return Layer(
            name=self._name,
            source=self._source,
            rules=tuple(rules),
            exemptions=tuple(self._exemption(row) for row in self._rows("exemptions")),
            hosts=self._hosts(top),
            repositories=self._repositories(),
            first_seen=self._choice(top, "first_seen", FirstSeen),
            retired_keys=self._choice(top, "retired_keys", RetiredKeys),
        )

    # --- rules ------------------------------------------------------------------------------------------------

    def _row(self, row: _Place, mode: Mode) -> Iterator[Rule]:
        self._only(row, (*_SCOPE, *KINDS))
        if "projects" not in row.table:
            raise self._bad(row.line, "a rule without 'projects'", f"{_GLOBS}, such as ['*']")
        if not any(key in KINDS for key in row.table):
            raise self._bad(row.line, "a rule that asks for nothing", "one of " + ", ".join(KINDS))
        yield from self._rules(row, self._choice(row, "mode", Mode) or mode)

    def _rules(self, place: _Place, mode: Mode) -> Iterator[Rule]:
        projects = self._projects(place)
        for key, value in place.table.items():
            if key not in KINDS:
                continue
            line = self._line(place, key)
            try:
                read = KINDS[key].read(value, self._read_file)
            except NotLegal as error:
                raise self._bad(line, error.what, error.expected, repr(value)[:200]) from error
            except CallerError as error:
                raise self._bad(line, error.what, found=error.found) from error
            yield Rule(key, projects, read, mode, f"{self._source}:{line}")

    def _projects(self, place: _Place) -> Projects:
        globs = self._texts(place, "projects", _GLOB, _GLOBS) or ("*",)
        if "projects" in place.table and not place.table["projects"]:
            raise self._bad(self._line(place, "projects"), "'projects' is empty", _GLOBS)
        return Projects(globs, self._texts(place, "except", _GLOB, _GLOBS) or ())

    # --- leniencies -------------------------------------------------------------------------------------------

    def _exemption(self, row: _Place) -> Exemption:
        self._only(row, ("projects", "versions", "rules", "until", "reason"))
        for key in ("projects", "rules", "until", "reason"):
            if not row.table.get(key):
                raise self._bad(row.line, f"an exemption without {key!r}", "projects, rules, until and reason")
        kinds = self._texts(row, "rules", re.compile(r"\A.+\Z"), "kinds of rules") or ()
        for kind in kinds:
            if kind not in KINDS:
                raise self._bad(self._line(row, "rules"), f"no kind of rule: {kind!r}", "one of " + ", ".join(KINDS))
        until, reason = row.table["until"], row.table["reason"]
        if not isinstance(until, date) or isinstance(until, datetime):
            raise self._bad(self._line(row, "until"), "'until' is not a date", "2027-01-31, without quotes")
        if not isinstance(reason, str):
            raise self._bad(self._line(row, "reason"), "'reason' is not a text", "why, for whoever reads it next")
        versions = self._texts(row, "versions", re.compile(r"\A[A-Za-z0-9.!+_-]+\Z"), "versions") or ()
        return Exemption(self._projects(row), versions, kinds, until, reason, f"{self._source}:{row.line}")

    def _hosts(self, top: _Place) -> tuple[str, ...] | None:
        return self._texts(top, "allow_hosts", _HOST, "host names without scheme and port")

    def _repositories(self) -> tuple[Repository, ...] | None:
        if "repositories" not in self._document:
            return None
        return tuple(self._repository(row) for row in self._rows("repositories"))

    def _repository(self, row: _Place) -> Repository:
        self._only(row, ("url", "pinned"))
        url, pinned = row.table.get("url"), row.table.get("pinned", True)
        if not isinstance(url, str) or "://" not in url or "*" in url.split("://", 1)[1].partition("/")[0]:
            raise self._bad(row.line, "'url' is not a repository's", "a glob such as https://git.example/team/*")
        if not isinstance(pinned, bool):
            raise self._bad(self._line(row, "pinned"), "'pinned' is not a truth value", "true or false")
        return Repository(url, pinned)

    # --- reading ----------------------------------------------------------------------------------------------

    def _rows(self, key: str) -> Iterator[_Place]:
        rows = self._document.get(key, [])
        header = re.compile(rf"\s*\[\[\s*[\"']?{key}[\"']?\s*\]\]")
        lines = [number for number, line in enumerate(self._lines, 1) if header.match(line)]
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or (rows and not lines):
            raise self._bad(self._line(_Place(self._document, 1), key), f"{key!r} is not tables", f"[[{key}]]")
        for row, line in zip(rows, lines, strict=True):
            yield _Place(row, line)

    def _only(self, place: _Place, known: Sequence[str]) -> None:
        for key in place.table:
            if key not in known:
                raise self._bad(self._line(place, key), f"unknown key {key!r}", "one of " + ", ".join(sorted(known)))

    def _choice(self, place: _Place, key: str, kind: type[E]) -> E | None:
        if key not in place.table:
            return None
        try:
            return kind(place.table[key])
        except ValueError as error:
            expected = " or ".join(repr(each.value) for each in kind)
            found = repr(place.table[key])[:200]
            raise self._bad(self._line(place, key), f"not a value of {key!r}", expected, found) from error

    def _texts(self, place: _Place, key: str, shape: re.Pattern[str], expected: str) -> tuple[str, ...] | None:
        if key not in place.table:
            return None
        value = place.table[key]
        if not isinstance(value, list):
            raise self._bad(self._line(place, key), f"{key!r} is not a list", expected, repr(value)[:200])
        for item in value:
            if not isinstance(item, str) or not shape.match(item):
                raise self._bad(self._line(place, key), f"a value of {key!r} is not legal", expected, repr(item)[:200])
        return tuple(value)

    def _line(self, place: _Place, key: str) -> int:
        """Where ``key`` of ``place`` stands, from 1; tomllib does not tell. Else the table's own line."""
        pattern = re.compile(rf"\s*(?:\[+\s*)?[\"']?{re.escape(key)}[\"']?\s*[]=.]")
        for number, line in enumerate(self._lines[place.line - 1 :], place.line):
            if pattern.match(line):
                return number
        return place.line

    def _bad(self, line: int, what: str, expected: str | None = None, found: str | None = None) -> CallerError:
        return CallerError(
            what,
            rule="policy-file",
            subject=f"{self._source}:{line}",
            expected=expected,
            found=found,
            next_step="correct the policy file; nothing was run (assay policy check FILE reads it alone)",
        )
