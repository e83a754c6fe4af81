"""The user's policy, ``assay-policy.toml``: what is allowed besides "vouched for".

An unknown key is refused with its line, because a misspelt rule that is silently ignored is a rule that does not hold.
"""

import re
import tomllib
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import orjson

from assay.client.provenance.policy import DEFAULT_PROVENANCE, ProvenancePolicy, parse_provenance_policy
from assay.model.digests import Sha256, sha256_of
from assay.model.errors import CallerError
from assay.model.names import ProjectName

POLICY_FILENAME: Final = "assay-policy.toml"
MAX_POLICY_BYTES: Final = 1_000_000
MAX_COOLDOWN_DAYS: Final = 3650

_HOST = re.compile(r"\A(?:\*\.)?[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*\Z")
_GLOB = re.compile(r"\A[a-z0-9*?-]+\Z")


@dataclass(frozen=True, slots=True)
class Policy:
    """What the user allows. The default is the strictest.

    ``allow_hosts``: hosts that a command may reach without verification (``example.org``, or ``*.example.org`` for the
    hosts below it). ``cooldown_days``: files younger than this many days are not offered. ``cooldown_exempt``: globs of
    normalised project names that the cooldown does not touch. ``provenance``: who must sign.
    """

    allow_hosts: tuple[str, ...] = ()
    cooldown_days: int = 0
    cooldown_exempt: tuple[str, ...] = ()
    provenance: ProvenancePolicy = DEFAULT_PROVENANCE

    def allows_host(self, host: str) -> bool:
        """May a command reach ``host`` (lower case, no port) without verification?"""
        return any(
            host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern for pattern in self.allow_hosts
        )

    def is_cooling(self, project: ProjectName, upload_time: datetime, now: datetime) -> bool:
        """Is a file of ``project`` that was uploaded at ``upload_time`` still too young at ``now`` (both UTC)?"""
        if not self.cooldown_days or any(fnmatchcase(project, glob) for glob in self.cooldown_exempt):
            return False
        return now - upload_time < timedelta(days=self.cooldown_days)

    def digest(self) -> Sha256:
        """The same for equal policies: part of the key of the installers' private caches."""
        return sha256_of(
            orjson.dumps(
                {
                    "allow_hosts": sorted(self.allow_hosts),
                    "cooldown_days": self.cooldown_days,
                    "cooldown_exempt": sorted(self.cooldown_exempt),
                    "provenance": self.provenance.canonical(),
                },
                option=orjson.OPT_SORT_KEYS,
            )
        )


def load_policy(path: Path) -> Policy:
    """Read the policy file. Raises CallerError for anything that is not understood entirely."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_POLICY_BYTES + 1)
    except OSError as error:
        raise CallerError(
            "the policy file cannot be read", rule="policy-file", subject=str(path), found=error.strerror
        ) from error
    if len(data) > MAX_POLICY_BYTES:
        raise _bad(str(path), "the policy file is too large", expected=f"at most {MAX_POLICY_BYTES} bytes")
    return parse_policy(data, name=str(path), folder=path.parent)


def parse_policy(data: bytes, *, name: str = POLICY_FILENAME, folder: Path | None = None) -> Policy:
    """Read a policy's text. ``name`` is how errors call it; paths in it are relative to ``folder``.

    Raises CallerError with the line of what is wrong.
    """
    try:
        text = data.decode("utf-8")
        document = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _bad(name, "the policy file is not TOML", found=str(error)) from error
    known = {"allow_hosts", "cooldown_days", "cooldown_exempt", "mode", "provenance"}
    for key in document:
        if key not in known:
            raise _bad(_at(name, text, key), f"unknown key {key!r}", expected="one of " + ", ".join(sorted(known)))
    if document.get("mode", "enforce") != "enforce":
        raise _bad(_at(name, text, "mode"), "unknown mode", expected="'enforce'", found=repr(document["mode"]))
    return Policy(
        allow_hosts=_strings(document, "allow_hosts", _HOST, "host names without scheme and port", name, text),
        cooldown_days=_days(document.get("cooldown_days", 0), name, text),
        cooldown_exempt=_strings(document, "cooldown_exempt", _GLOB, "globs of normalised project names", name, text),
        provenance=_provenance(document, folder, name, text),
    )


def _provenance(document: dict[str, object], folder: Path | None, name: str, text: str) -> ProvenancePolicy:
    if "provenance" not in document:
        return DEFAULT_PROVENANCE

    def refuse(key: str, what: str, expected: str) -> CallerError:
        return _bad(_at(name, text, key), what, expected=expected)

    def read_root(path: str) -> bytes:
        try:
            return ((folder or Path()) / path).read_bytes()
        except OSError as error:
            raise _bad(_at(name, text, "trust_root"), f"the trust root cannot be read: {error.strerror}") from error

    return parse_provenance_policy(document["provenance"], refuse, read_root)


def _strings(
    document: dict[str, object], key: str, shape: re.Pattern[str], expected: str, name: str, text: str
) -> tuple[str, ...]:
    value = document.get(key, [])
    if not isinstance(value, list):
        raise _bad(_at(name, text, key), f"{key!r} is not a list", expected=expected)
    for item in value:
        if not isinstance(item, str) or not shape.match(item):
            raise _bad(_at(name, text, key), f"a value of {key!r} is not legal", expected=expected, found=repr(item))
    return tuple(value)


def _days(value: object, name: str, text: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COOLDOWN_DAYS:
        raise _bad(
            _at(name, text, "cooldown_days"),
            "'cooldown_days' is not a number of days",
            expected=f"a whole number from 0 to {MAX_COOLDOWN_DAYS}",
            found=repr(value),
        )
    return value


def _at(name: str, text: str, key: str) -> str:
    """``name`` with the line where ``key`` stands: tomllib does not tell it."""
    pattern = re.compile(rf"\s*(?:\[+\s*)?[\"']?{re.escape(key)}[\"']?\s*[]=.]")
    for number, line in enumerate(text.splitlines(), 1):
        if pattern.match(line):
            return f"{name}:{number}"
    return name


def _bad(subject: str, what: str, *, expected: str | None = None, found: str | None = None) -> CallerError:
    return CallerError(
        what,
        rule="policy-file",
        subject=subject,
        expected=expected,
        found=found,
        next_step="correct the policy file; nothing was run",
    )
