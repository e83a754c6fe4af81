"""Facts held against a policy: what is refused, and what is only said. Pure, and total: it never raises.

A file passes a policy when it passes every layer. A layer's exemptions lift its own rules only, so no layer loosens
another one.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from assay.model.errors import RefusedByPolicy
from assay.policy.model import Facts, Layer, Mode, Policy, Repository, Rule, Stage
from assay.policy.rules import KINDS

_COMMIT = re.compile(r"\A(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that is not satisfied. ``lifted``: why it refuses nothing all the same, in words."""

    layer: str
    rule: Rule
    refusal: RefusedByPolicy
    lifted: str | None = None

    def __str__(self) -> str:
        """One line, as notices say it."""
        words = f"{self.refusal} [{self.refusal.rule}, {self.rule.where}]"
        return f"{words}; {self.lifted}" if self.lifted else words


@dataclass(frozen=True, slots=True)
class Judgement:
    """Everything that is not satisfied, in the order of layers and rules."""

    findings: tuple[Finding, ...] = ()

    @property
    def refusals(self) -> tuple[RefusedByPolicy, ...]:
        """What refuses."""
        return tuple(finding.refusal for finding in self.findings if finding.lifted is None)

    @property
    def notices(self) -> tuple[str, ...]:
        """What is let pass, and why, in words: a leniency is never silent."""
        return tuple(str(finding) for finding in self.findings if finding.lifted is not None)

    @property
    def hides(self) -> bool:
        """Is the file left out of its page? Only where every refusal comes from a rule that hides."""
        refusing = [finding for finding in self.findings if finding.lifted is None]
        return bool(refusing) and all(KINDS[finding.rule.kind].hides for finding in refusing)


def judge(policy: Policy, facts: Facts, stage: Stage) -> Judgement:
    """Hold ``facts``, known up to ``stage``, against every rule that can be judged by then."""
    return Judgement(tuple(finding for layer in policy.layers for finding in _judge_layer(layer, facts, stage)))


def _judge_layer(layer: Layer, facts: Facts, stage: Stage) -> Iterator[Finding]:
    for rule in layer.rules:
        kind = KINDS[rule.kind]
        if kind.stage > stage or not rule.projects.has(facts.project):
            continue
        refusal = kind.judge(rule.value, facts)
        if refusal is not None:
            refusal.next_step = f"{refusal.next_step} ({layer.name}'s policy, {rule.where})"
            yield Finding(layer.name, rule, refusal, _lifted(layer, rule, facts))


def _lifted(layer: Layer, rule: Rule, facts: Facts) -> str | None:
    for exemption in layer.exemptions:
        if exemption.covers(rule.kind, facts):
            return f"exempt until {exemption.until}: {exemption.reason} ({exemption.where})"
    return "only a warning" if rule.mode is Mode.WARN else None


def ended_exemptions(policy: Policy, now: datetime) -> tuple[str, ...]:
    """The exemptions that do not count at ``now``, in words: whoever reads the file would think that they do."""
    return tuple(
        f"this exemption {'has ended' if now.date() > each.until else 'is dated too far away to count'}: {each}"
        for layer in policy.layers
        for each in layer.exemptions
        if not each.is_in_force(now)
    )


def rules_for(policy: Policy, facts: Facts) -> tuple[tuple[Layer, Rule], ...]:
    """The rules that speak of the project, with their layers."""
    return tuple((layer, rule) for layer in policy.layers for rule in layer.rules if rule.projects.has(facts.project))


def routed_index(policy: Policy, facts: Facts) -> str | None:
    """The index that the first rule about it names for the project; None where any will do."""
    found = (rule.value for _, rule in rules_for(policy, facts) if rule.kind == "index")
    return next(found, None)


def judge_repository(policy: Policy, url: str, revision: str | None) -> RefusedByPolicy | None:
    """May a VCS repository be installed from? Every layer that speaks of repositories must name it.

    ``url``: without ``git+`` and revision. ``revision``: None where none is named.
    """
    speaking = [layer.repositories for layer in policy.layers if layer.repositories is not None]
    named = bool(speaking) and ".." not in url and all(_matching(repositories, url) for repositories in speaking)
    is_commit = revision is not None and _COMMIT.match(revision) is not None
    if named and (is_commit or not any(each.pinned for found in speaking for each in _matching(found, url))):
        return None
    expected = "a whole commit hash after the @" if named else "one that the policy names under [[repositories]]"
    return RefusedByPolicy(
        "nobody vouches for a repository, and the policy does not allow this one",
        rule="policy-repository",
        subject=url,
        expected=expected,
        found=revision or "no revision",
        next_step="publish it on the index, or name it in the policy ([[repositories]])",
    )


def _matching(repositories: Sequence[Repository], url: str) -> list[Repository]:
    return [each for each in repositories if fnmatchcase(url, each.url)]
