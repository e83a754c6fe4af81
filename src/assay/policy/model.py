"""What a policy is: layers of rules, and the facts that rules look at. No rule is known here (see ``rules``)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import Enum, IntEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

import orjson

from assay.model.digests import Sha256, sha256_of
from assay.model.names import ProjectName
from assay.model.rings import Ring
from assay.provenance.publishers import Publisher
from assay.provenance.retired_keys import RetiredKeys
from assay.provenance.sigstore_trust import SigstoreTrust

if TYPE_CHECKING:
    from assay.provenance.attestations import VerifiedAttestation

MAX_EXEMPTION: Final = timedelta(days=366)
"""An exemption that is dated further away counts only from then on: nobody will remember why it is there."""


class Mode(Enum):
    """What a rule does: refuse, or only say what it would refuse."""

    ENFORCE = "enforce"
    WARN = "warn"


class FirstSeen(Enum):
    """What to do when whoever was seen first changes, or their evidence stops."""

    REFUSE = "refuse"
    WARN = "warn"


class Stage(IntEnum):
    """What is known when a rule is judged: the project alone, its page's entry, or the verified file with evidence."""

    PROJECT = 1
    LISTED = 2
    FILE = 3


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a project and, further on, of one of its files; all of it verified.

    ``index``: URL of the index that is asked, with a slash at its end. ``uploaded``: the signed upload time. ``now`` in
    UTC. ``signed_with``: fingerprint of the OpenPGP certificate whose signature verified. ``attested``: what verified.
    """

    project: ProjectName
    index: str
    now: datetime
    version: str | None = None
    filename: str | None = None
    uploaded: datetime | None = None
    rings: frozenset[Ring] = frozenset()
    signed_with: str | None = None
    attested: "tuple[VerifiedAttestation, ...]" = ()

    @property
    def subject(self) -> str:
        """What a refusal speaks of."""
        return self.filename or self.project


@dataclass(frozen=True, slots=True)
class Projects:
    """Globs of normalised project names, minus others."""

    globs: tuple[str, ...] = ("*",)
    without: tuple[str, ...] = ()

    def has(self, project: ProjectName) -> bool:
        """Is ``project`` meant?"""
        return _matches(self.globs, project) and not _matches(self.without, project)

    def __str__(self) -> str:
        """In words."""
        names = "every project" if self.globs == ("*",) else ", ".join(self.globs)
        return names + (f" except {', '.join(self.without)}" if self.without else "")


@dataclass(frozen=True, slots=True)
class Rule:
    """One demand on files of ``projects``. ``kind``: its key in the policy file and row in ``rules.KINDS``.

    ``where``: file and line.
    """

    kind: str
    projects: Projects
    value: Any
    mode: Mode
    where: str


@dataclass(frozen=True, slots=True)
class Exemption:
    """What the rules of its own layer do not refuse, until the end of the day ``until`` (UTC).

    ``versions``: empty for all. ``rules``: kinds.
    """

    projects: Projects
    versions: tuple[str, ...]
    rules: tuple[str, ...]
    until: date
    reason: str
    where: str

    def is_in_force(self, now: datetime) -> bool:
        """Does it count at ``now``? Not after its date, and not yet when that is more than a year away."""
        return now.date() <= self.until and self.until - now.date() <= MAX_EXEMPTION

    def covers(self, kind: str, facts: Facts) -> bool:
        """Does it lift rules of ``kind`` for this file?"""
        return (
            kind in self.rules
            and self.is_in_force(facts.now)
            and self.projects.has(facts.project)
            and (not self.versions or facts.version in self.versions)
        )

    def __str__(self) -> str:
        """In words."""
        which = f" {', '.join(self.versions)}" if self.versions else ""
        return f"{', '.join(self.rules)} for {self.projects}{which} until {self.until}: {self.reason} ({self.where})"


@dataclass(frozen=True, slots=True)
class Repository:
    """A VCS repository that may be installed from: a glob of its URL. Without ``pinned`` a branch will do, too."""

    url: str
    pinned: bool = True


@dataclass(frozen=True, slots=True)
class Layer:
    """One policy as one party wrote it. ``name``: whose. ``source``: where it was read.

    ``hosts``, ``repositories``: what may be used without verification. They, ``first_seen`` and ``retired_keys`` are
    None where the layer does not speak of them; a leniency holds where every layer that speaks of it agrees.
    """

    name: str
    source: str
    rules: tuple[Rule, ...] = ()
    exemptions: tuple[Exemption, ...] = ()
    hosts: tuple[str, ...] | None = None
    repositories: tuple[Repository, ...] | None = None
    first_seen: FirstSeen | None = None
    retired_keys: RetiredKeys | None = None

    def allows_host(self, host: str) -> bool:
        """Does this layer name ``host``?"""
        return any(
            host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern for pattern in self.hosts or ()
        )


@dataclass(frozen=True, slots=True)
class ExpectedAttester:
    """A publisher that a rule names for ``projects``; ``trust`` None: Sigstore's production root."""

    projects: Projects
    publisher: Publisher
    trust: SigstoreTrust | None = None


@dataclass(frozen=True, slots=True)
class ProvenancePolicy:
    """What the verifier of signatures must know beforehand; what is demanded is judged afterwards."""

    retired_keys: RetiredKeys = RetiredKeys.ACCEPT_EARLIER
    first_seen: FirstSeen = FirstSeen.REFUSE
    attesters: tuple[ExpectedAttester, ...] = ()

    def attesters_of(self, project: ProjectName) -> tuple[ExpectedAttester, ...]:
        """The publishers that rules name for ``project``."""
        return tuple(each for each in self.attesters if each.projects.has(project))


DEFAULT_PROVENANCE: Final = ProvenancePolicy()


@dataclass(frozen=True, slots=True)
class Policy:
    """Every layer counts. Without any: nothing is demanded beyond what is vouched for, and no host is allowed."""

    layers: tuple[Layer, ...] = field(default=())

    def with_layers(self, layers: Sequence[Layer]) -> "Policy":
        """This policy and further layers: at least as strict."""
        return replace(self, layers=(*self.layers, *(layer for layer in layers if layer not in self.layers)))

    def allows_host(self, host: str) -> bool:
        """May a command reach ``host`` (lower case, no port) unverified? All layers that speak of hosts must agree."""
        speaking = [layer for layer in self.layers if layer.hosts is not None]
        return bool(speaking) and all(layer.allows_host(host) for layer in speaking)

    @property
    def allows_any_host(self) -> bool:
        """Is there any host that might be reached without verification?"""
        speaking = [layer for layer in self.layers if layer.hosts is not None]
        return bool(speaking) and all(layer.hosts for layer in speaking)

    def digest(self, now: datetime) -> Sha256:
        """Part of the key of the installers' private caches: the same for policies that ask the same at ``now``.

        Of the exemptions those count that are in force: when one ends, what it let into a cache is no longer used.
        """
        return sha256_of(orjson.dumps(sorted({repr(_essence(layer, now)) for layer in self.layers})))


def _essence(layer: Layer, now: datetime) -> tuple[object, ...]:
    """What ``layer`` asks at ``now``; not where it stands."""
    return (
        sorted(repr((rule.kind, rule.projects, rule.value, rule.mode)) for rule in layer.rules),
        sorted(repr((each.projects, each.versions, each.rules)) for each in layer.exemptions if each.is_in_force(now)),
        sorted(layer.hosts) if layer.hosts is not None else None,
        sorted(map(repr, layer.repositories)) if layer.repositories is not None else None,
        layer.first_seen,
        layer.retired_keys,
    )


def _matches(globs: Sequence[str], project: ProjectName) -> bool:
    return any(fnmatchcase(project, glob) for glob in globs)
