"""Laws of policies: another layer never loosens, and a leniency is never silent."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.model.names import ProjectName, parse_project_name
from assay.model.rings import Ring
from assay.policy.judge import ended_exemptions, judge, judge_repository
from assay.policy.model import (
    Exemption,
    Facts,
    FirstSeen,
    Layer,
    Mode,
    Policy,
    Projects,
    Repository,
    Rule,
    Stage,
)
from assay.policy.parse import no_files, parse_layer
from assay.policy.rules import provenance_of
from assay.provenance.openpgp import RetiredKeys

DEMO = parse_project_name("demo")
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
INDEXES = ("https://a.example/", "https://b.example/")
KEYS = ("A" * 40, "B" * 40)
HOSTS = ("git.example", "a.cdn.example", "evil.example")

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A loaded machine is slow to make examples; that says nothing of the laws."""

names = st.sampled_from(["demo", "acme-tool", "acme-open"])
globs = st.lists(st.sampled_from(["*", "demo", "acme-*", "*-open"]), min_size=1, max_size=2).map(tuple)
projects = st.builds(Projects, globs, st.lists(st.sampled_from(["demo", "acme-open"]), max_size=1).map(tuple))
values: dict[str, st.SearchStrategy[object]] = {
    "index": st.sampled_from(INDEXES),
    "cooldown_days": st.integers(0, 30),
    "rings": st.lists(st.sampled_from(Ring), min_size=1, max_size=3, unique=True).map(tuple),
    "signature": st.just(value=True),
    "signed_by": st.lists(st.sampled_from(KEYS), min_size=1, max_size=2).map(tuple),
    "attestation": st.just(value=True),
}
rules = st.one_of(
    [
        st.builds(Rule, st.just(kind), projects, value, st.sampled_from(Mode), st.just("file:1"))
        for kind, value in values.items()
    ]
)
exemptions = st.builds(
    Exemption,
    projects,
    st.sampled_from([(), ("1.0",)]),
    st.lists(st.sampled_from(sorted(values)), min_size=1, max_size=3).map(tuple),
    st.dates(date(2026, 5, 1), date(2027, 12, 31)),
    st.just("because"),
    st.just("file:9"),
)
hosts = st.none() | st.lists(st.sampled_from(["git.example", "*.cdn.example"]), max_size=2).map(tuple)
repositories = st.none() | st.lists(
    st.builds(Repository, st.sampled_from(["https://git.example/*", "https://git.example/a/*"]), st.booleans()),
    max_size=2,
).map(tuple)
layers = st.builds(
    Layer,
    st.sampled_from(["project", "user", "organisation"]),
    st.just("file"),
    st.lists(rules, max_size=4).map(tuple),
    st.lists(exemptions, max_size=2).map(tuple),
    hosts,
    repositories,
    st.none() | st.sampled_from(FirstSeen),
    st.none() | st.sampled_from(RetiredKeys),
)
facts = st.builds(
    Facts,
    names.map(ProjectName),
    st.sampled_from(INDEXES),
    st.datetimes(datetime(2026, 4, 1), datetime(2028, 1, 1), timezones=st.just(UTC)),
    st.sampled_from(["1.0", "2.0"]),
    st.just("demo-1.0-py3-none-any.whl"),
    st.none() | st.datetimes(datetime(2026, 4, 1), datetime(2028, 1, 1), timezones=st.just(UTC)),
    st.frozensets(st.sampled_from(Ring)),
    st.none() | st.sampled_from(KEYS),
)
stages = st.sampled_from(Stage)
policies = st.lists(layers, max_size=3).map(lambda found: Policy(tuple(found)))


def refused(policy: Policy, given_facts: Facts, stage: Stage = Stage.FILE) -> set[str]:
    return {str(refusal) for refusal in judge(policy, given_facts, stage).refusals}


@PATIENT
@given(policies, policies, facts, stages)
def test_merging_never_loosens(one: Policy, other: Policy, found: Facts, stage: Stage) -> None:
    """Whatever one of two policies refuses, both together refuse, for the same reason; and they add nothing."""
    both = one.with_layers(other.layers)
    assert refused(both, found, stage) == refused(one, found, stage) | refused(other, found, stage)


@PATIENT
@given(policies, policies, facts)
def test_the_order_of_layers_does_not_matter_and_twice_is_once(one: Policy, other: Policy, found: Facts) -> None:
    assert refused(one.with_layers(other.layers), found) == refused(other.with_layers(one.layers), found)
    assert one.with_layers(one.layers).layers == tuple(dict.fromkeys(one.layers)) or refused(
        one.with_layers(one.layers), found
    ) == refused(one, found)
    assert one.with_layers(other.layers).digest(NOW) == other.with_layers(one.layers).digest(NOW)


@PATIENT
@given(policies, layers)
def test_a_layer_that_speaks_of_hosts_is_never_overruled(policy: Policy, layer: Layer) -> None:
    both = policy.with_layers([layer])
    for host in HOSTS:
        if both.allows_host(host):
            assert layer.hosts is None or layer.allows_host(host)
            assert layer.hosts is not None or policy.allows_host(host)


@PATIENT
@given(policies, layers, st.sampled_from(["a" * 40, "main", None]))
def test_a_layer_that_speaks_of_repositories_is_never_overruled(
    policy: Policy, layer: Layer, revision: str | None
) -> None:
    for url in ("https://git.example/a/tool", "https://git.example/b/tool", "ssh://git.example/a/tool"):
        if judge_repository(policy.with_layers([layer]), url, revision) is None:
            for each in (Policy((layer,)), policy):
                speaks = any(found.repositories is not None for found in each.layers)
                assert not speaks or judge_repository(each, url, revision) is None


@PATIENT
@given(policies, layers)
def test_leniencies_about_signers_need_every_layer_that_speaks_of_them(policy: Policy, layer: Layer) -> None:
    both, alone = provenance_of(policy.with_layers([layer])), provenance_of(Policy((layer,)))
    if layer.first_seen is not None and alone.first_seen is FirstSeen.REFUSE:
        assert both.first_seen is FirstSeen.REFUSE
    if layer.retired_keys is RetiredKeys.REFUSE:
        assert both.retired_keys is RetiredKeys.REFUSE


@PATIENT
@given(policies, facts, stages)
def test_what_is_let_pass_is_told(policy: Policy, found: Facts, stage: Stage) -> None:
    judgement = judge(policy, found, stage)
    assert len(judgement.refusals) + len(judgement.notices) == len(judgement.findings)
    enforced = [layer for layer in policy.layers if any(rule.mode is Mode.ENFORCE for rule in layer.rules)]
    assert not judgement.refusals or enforced


@PATIENT
@given(policies, facts)
def test_what_is_refused_early_is_refused_late(policy: Policy, found: Facts) -> None:
    """A later stage knows more and never forgives what an earlier one refused."""
    assert refused(policy, found, Stage.PROJECT) <= refused(policy, found, Stage.LISTED) <= refused(policy, found)


def layer(text: str, name: str = "project") -> Layer:
    return parse_layer(text.encode(), name, name, no_files)


def listed(age: timedelta, now: datetime = NOW) -> Facts:
    return Facts(DEMO, INDEXES[0], now, "1.0", "demo-1.0.tar.gz", now - age, frozenset({Ring.SIGNED}))


def test_the_cooldown_ends_after_whole_days() -> None:
    policy = Policy((layer("cooldown_days = 3"),))
    assert refused(policy, listed(timedelta(days=3) - timedelta(seconds=1)))
    assert not refused(policy, listed(timedelta(days=3)))
    assert refused(policy, listed(-timedelta(days=1)))


EXEMPT = """
cooldown_days = 3
[[exemptions]]
projects = ["demo"]
rules = ["cooldown_days"]
until = 2026-06-30
reason = "CVE-2026-1"
"""


@pytest.mark.parametrize(
    ("now", "passes"),
    [
        (datetime(2026, 6, 30, 23, 59, tzinfo=UTC), True),
        (datetime(2026, 7, 1, tzinfo=UTC), False),
        (datetime(2025, 6, 1, tzinfo=UTC), False),
    ],
)
def test_an_exemption_counts_to_the_end_of_its_day_and_not_from_years_before(now: datetime, passes: bool) -> None:
    policy = Policy((layer(EXEMPT),))
    judgement = judge(policy, listed(timedelta(days=1), now), Stage.LISTED)
    assert (not judgement.refusals) is passes
    assert bool(ended_exemptions(policy, now)) is not passes
    if passes:
        assert "exempt until 2026-06-30: CVE-2026-1 (project:3)" in judgement.notices[0]


def test_when_an_exemption_ends_the_installers_caches_are_others() -> None:
    policy = Policy((layer(EXEMPT),))
    assert policy.digest(datetime(2026, 6, 30, tzinfo=UTC)) != policy.digest(datetime(2026, 7, 1, tzinfo=UTC))
    assert policy.digest(datetime(2026, 7, 1, tzinfo=UTC)) == policy.digest(datetime(2026, 8, 1, tzinfo=UTC))


def test_a_projects_exemption_does_not_lift_the_organisations_rule() -> None:
    strict = layer("cooldown_days = 3", "organisation")
    refusals = judge(Policy((layer(EXEMPT), strict)), listed(timedelta(days=1)), Stage.LISTED).refusals
    assert [refusal.next_step for refusal in refusals if "organisation's policy" in (refusal.next_step or "")]


def test_a_warning_refuses_nothing_and_is_told() -> None:
    judgement = judge(Policy((layer('mode = "warn"\nrings = "sealed"'),)), listed(timedelta(days=9)), Stage.FILE)
    assert not judgement.refusals
    assert "only a warning" in judgement.notices[0]


def test_a_file_is_hidden_only_by_what_time_heals() -> None:
    cooling = Policy((layer("cooldown_days = 3"),))
    assert judge(cooling, listed(timedelta(days=1)), Stage.LISTED).hides
    routed = cooling.with_layers([layer('[[rules]]\nprojects = ["demo"]\nindex = "https://c.example/"')])
    assert not judge(routed, listed(timedelta(days=1)), Stage.LISTED).hides


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("git.example", True),
        ("evil-git.example", False),
        ("a.cdn.example", True),
        ("a.b.cdn.example", True),
        ("cdn.example", False),
        ("evilcdn.example", False),
    ],
)
def test_hosts(host: str, allowed: bool) -> None:
    assert Policy((layer('allow_hosts = ["git.example", "*.cdn.example"]'),)).allows_host(host) is allowed
    assert not Policy().allows_host(host)


@pytest.mark.parametrize(
    ("url", "revision", "allowed"),
    [
        ("https://git.example/team/tool", "a" * 40, True),
        ("https://git.example/team/tool", "v1.0", False),
        ("https://git.example/team/tool", None, False),
        ("https://git.example/team/../evil/tool", "a" * 40, False),
        ("https://evil.example/team/tool", "a" * 40, False),
        ("https://open.example/any", "main", True),
    ],
)
def test_repositories(url: str, revision: str | None, allowed: bool) -> None:
    text = '[[repositories]]\nurl = "https://git.example/team/*"\n'
    text += '[[repositories]]\nurl = "https://open.example/*"\npinned = false\n'
    assert (judge_repository(Policy((layer(text),)), url, revision) is None) is allowed
    assert judge_repository(Policy(), url, revision) is not None


def test_another_policy_is_another_cache() -> None:
    texts = ["", "cooldown_days = 1", 'rings = "sealed"', 'first_seen = "warn"', 'retired_keys = "refuse"']
    texts += ["allow_hosts = []", 'allow_hosts = ["a.example"]', 'mode = "warn"\ncooldown_days = 1']
    texts += [f'[[rules]]\nprojects = ["demo"]\nsigned_by = ["{KEYS[0]}"]\n', "repositories = []"]
    assert len({Policy((layer(text),)).digest(NOW) for text in texts}) == len(texts)
