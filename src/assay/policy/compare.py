"""What a change of a policy takes away: for whoever reviews it. Pure."""

from collections.abc import Iterator

from assay.policy.model import FirstSeen, Layer, Mode, Rule
from assay.policy.rules import KINDS
from assay.provenance.retired_keys import RetiredKeys


def loosened(old: Layer, new: Layer) -> tuple[str, ...]:
    """In words, what ``old`` refuses and ``new`` may let pass. A rule that was rewritten counts as taken away."""
    return tuple(_loosened(old, new))


def tell_rule(rule: Rule) -> str:
    """``rule`` in words."""
    only = " (only a warning)" if rule.mode is Mode.WARN else ""
    return f"{rule.projects}: {KINDS[rule.kind].tell(rule.value)}{only}"


def _loosened(old: Layer, new: Layer) -> Iterator[str]:
    kept = {_essence(rule) for rule in new.rules}
    kept |= {_essence(rule, Mode.WARN) for rule in new.rules}
    for rule in old.rules:
        if _essence(rule) not in kept:
            yield f"no longer asked of {tell_rule(rule)}"
    known = {(each.projects, each.versions, each.rules, each.until) for each in old.exemptions}
    for exemption in new.exemptions:
        if (exemption.projects, exemption.versions, exemption.rules, exemption.until) not in known:
            yield f"a new exemption from {exemption}"
    for host in sorted(set(new.hosts or ()) - set(old.hosts or ())):
        yield f"the host {host} may be reached without verification"
    if old.hosts is not None and new.hosts is None:
        yield "other layers alone decide which hosts may be reached without verification"
    for repository in sorted(set(new.repositories or ()) - set(old.repositories or ()), key=str):
        yield f"{repository.url} may be installed from" + ("" if repository.pinned else ", from any branch")
    if old.repositories is not None and new.repositories is None:
        yield "other layers alone decide which repositories may be installed from"
    if new.first_seen is not FirstSeen.REFUSE and new.first_seen is not old.first_seen:
        yield "another publisher than the one that was seen first may only be told"
    if old.retired_keys is RetiredKeys.REFUSE and new.retired_keys is not RetiredKeys.REFUSE:
        yield "keys that were retired may have signed"


def _essence(rule: Rule, mode: Mode | None = None) -> str:
    return repr((rule.kind, rule.projects, rule.value, mode or rule.mode))
