"""The part of the user's policy about who signs: ``[provenance]`` of ``assay-policy.toml``.

What a project's signed page demands is checked without any policy; this adds demands of the user's own, and names the
two leniencies. Unknown keys are refused, as everywhere in the policy.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any, Final, TypeVar

from assay.formats.pages import PageFile, ProjectPage
from assay.model.errors import AssayError
from assay.model.names import ProjectName
from assay.provenance.openpgp import RetiredKeys, parse_fingerprint
from assay.provenance.publishers import Publisher, describe_publisher, parse_publisher, render_publisher
from assay.provenance.sigstore_trust import SigstoreTrust
from assay.provenance.slsa import BuildRule

E = TypeVar("E", bound=Enum)

Refuse = Callable[[str, str, str], AssayError]
"""Makes the error for a key, what is wrong with it, and what is expected."""

ReadRoot = Callable[[str], bytes]


class FirstSeen(Enum):
    """What to do when an upstream project's publisher changes, or its attestations stop."""

    REFUSE = "refuse"
    WARN = "warn"


@dataclass(frozen=True, slots=True)
class ExpectedSigner:
    """``[[provenance.signers]]``: files of ``projects`` are signed with one of the certificates ``fingerprints``."""

    projects: tuple[str, ...]
    fingerprints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExpectedAttester:
    """``[[provenance.publishers]]``: files of ``projects`` are attested by ``publisher``; ``trust`` None: Sigstore."""

    projects: tuple[str, ...]
    publisher: Publisher
    trust: SigstoreTrust | None


@dataclass(frozen=True, slots=True)
class ExpectedBuild:
    """``[[provenance.builds]]``: files of ``projects`` have a SLSA v1 attestation that satisfies ``rule``."""

    projects: tuple[str, ...]
    rule: BuildRule


@dataclass(frozen=True, slots=True)
class Demands:
    """What the policy asks of one project's files."""

    signature: bool
    attestation: bool
    fingerprints: tuple[str, ...]
    attesters: tuple[ExpectedAttester, ...]
    builds: tuple[BuildRule, ...]


@dataclass(frozen=True, slots=True)
class ProvenancePolicy:
    """What the user asks about signatures. Globs of normalised project names say where."""

    require_signature: tuple[str, ...] = ()
    require_attestation: tuple[str, ...] = ()
    retired_keys: RetiredKeys = RetiredKeys.ACCEPT_EARLIER
    first_seen: FirstSeen = FirstSeen.REFUSE
    signers: tuple[ExpectedSigner, ...] = ()
    attesters: tuple[ExpectedAttester, ...] = ()
    builds: tuple[ExpectedBuild, ...] = ()

    def demands(self, project: ProjectName) -> Demands:
        """What is asked of the files of ``project``."""
        fingerprints = [each.fingerprints for each in self.signers if _covers(each.projects, project)]
        attesters = tuple(each for each in self.attesters if _covers(each.projects, project))
        builds = tuple(each.rule for each in self.builds if _covers(each.projects, project))
        return Demands(
            signature=bool(fingerprints) or _covers(self.require_signature, project),
            attestation=bool(attesters or builds) or _covers(self.require_attestation, project),
            fingerprints=tuple(each for group in fingerprints for each in group),
            attesters=attesters,
            builds=builds,
        )

    def canonical(self) -> dict[str, Any]:
        """Equal policies, equal JSON: part of the key of the installers' private caches."""
        return {
            "require_signature": sorted(self.require_signature),
            "require_attestation": sorted(self.require_attestation),
            "retired_keys": self.retired_keys.value,
            "first_seen": self.first_seen.value,
            "signers": sorted([sorted(each.projects), sorted(each.fingerprints)] for each in self.signers),
            "publishers": sorted(
                [
                    sorted(each.projects),
                    sorted(f"{name}={value}" for name, value in render_publisher(each.publisher).items()),
                    [each.trust.sha256 if each.trust else ""],
                ]
                for each in self.attesters
            ),
            "builds": sorted([sorted(each.projects), [repr(each.rule)]] for each in self.builds),
        }


DEFAULT_PROVENANCE: Final = ProvenancePolicy()


def speaks_of_signing(page: ProjectPage, entry: PageFile, policy: ProvenancePolicy) -> bool:
    """Whether anybody says anything about who signs this file; of most files nobody does."""
    if entry.signature or entry.provenance or entry.upstream_provenance:
        return True
    demands = policy.demands(page.project)
    return bool(page.signers.certificates or page.signers.publishers or demands.signature or demands.attestation)


def _covers(globs: Sequence[str], project: ProjectName) -> bool:
    return any(fnmatchcase(project, glob) for glob in globs)


# --- reading --------------------------------------------------------------------------------------------------

_GLOBS: Final = "globs of normalised project names"


def parse_provenance_policy(table: object, refuse: Refuse, read_root: ReadRoot) -> ProvenancePolicy:
    """Read the table ``provenance``. Raises what ``refuse`` makes, with the key that is wrong."""
    values = _table(table, "provenance", refuse)
    known = (
        "require_signature",
        "require_attestation",
        "retired_keys",
        "first_seen",
        "signers",
        "publishers",
        "builds",
    )
    _only(values, known, refuse)
    return ProvenancePolicy(
        require_signature=_globs(values, "require_signature", refuse),
        require_attestation=_globs(values, "require_attestation", refuse),
        retired_keys=_choice(values, "retired_keys", RetiredKeys, RetiredKeys.ACCEPT_EARLIER, refuse),
        first_seen=_choice(values, "first_seen", FirstSeen, FirstSeen.REFUSE, refuse),
        signers=tuple(_signer(row, refuse) for row in _rows(values, "signers", refuse)),
        attesters=tuple(_attester(row, refuse, read_root) for row in _rows(values, "publishers", refuse)),
        builds=tuple(_build(row, refuse) for row in _rows(values, "builds", refuse)),
    )


def _signer(row: Mapping[str, Any], refuse: Refuse) -> ExpectedSigner:
    _only(row, ("projects", "fingerprints"), refuse)
    texts = _texts(row, "fingerprints", "40 or 64 hex digits each", refuse)
    try:
        fingerprints = tuple(parse_fingerprint(text) for text in texts)
    except AssayError as error:
        raise refuse("fingerprints", error.what, "40 or 64 hex digits each") from error
    return ExpectedSigner(_required_globs(row, refuse), fingerprints)


def _attester(row: Mapping[str, Any], refuse: Refuse, read_root: ReadRoot) -> ExpectedAttester:
    _only(row, ("projects", "publisher", "trust_root"), refuse)
    try:
        publisher = parse_publisher(dict(_table(row.get("publisher"), "publisher", refuse)))
    except AssayError as error:
        raise refuse("publisher", f"{error.what} ({error.found})", "kind, repository, workflow, ...") from error
    path = row.get("trust_root")
    if path is not None and not isinstance(path, str):
        raise refuse("trust_root", "not a path", "the path of a trusted_root.json")
    trust = SigstoreTrust(f"the root of {describe_publisher(publisher)}", read_root(path)) if path else None
    return ExpectedAttester(_required_globs(row, refuse), publisher, trust)


def _build(row: Mapping[str, Any], refuse: Refuse) -> ExpectedBuild:
    _only(row, ("projects", "source", "workflow", "builder", "ref"), refuse)
    asked = {name: value for name, value in row.items() if name != "projects"}
    for name, value in asked.items():
        if not isinstance(value, str):
            raise refuse(name, "not a text", "a text")
    return ExpectedBuild(_required_globs(row, refuse), BuildRule(**asked))


def _table(value: object, name: str, refuse: Refuse) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise refuse(name, f"{name!r} is not a table", "a table")
    return value


def _only(table: Mapping[str, Any], known: Sequence[str], refuse: Refuse) -> None:
    for key in table:
        if key not in known:
            raise refuse(key, f"unknown key {key!r}", "one of " + ", ".join(sorted(known)))


def _rows(table: Mapping[str, Any], key: str, refuse: Refuse) -> list[Mapping[str, Any]]:
    value = table.get(key, [])
    if not isinstance(value, list):
        raise refuse(key, f"{key!r} is not a list of tables", f"[[provenance.{key}]]")
    return [_table(row, key, refuse) for row in value]


def _globs(table: Mapping[str, Any], key: str, refuse: Refuse) -> tuple[str, ...]:
    return _texts(table, key, _GLOBS, refuse)


def _required_globs(row: Mapping[str, Any], refuse: Refuse) -> tuple[str, ...]:
    globs = _globs(row, "projects", refuse)
    if not globs:
        raise refuse("projects", "'projects' is missing or empty", _GLOBS)
    return globs


def _texts(table: Mapping[str, Any], key: str, expected: str, refuse: Refuse) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise refuse(key, f"{key!r} is not a list of texts", expected)
    return tuple(value)


def _choice(table: Mapping[str, Any], key: str, kind: type[E], default: E, refuse: Refuse) -> E:
    try:
        return kind(table[key]) if key in table else default
    except ValueError as error:
        raise refuse(key, f"not a value of {key!r}", " or ".join(repr(each.value) for each in kind)) from error
