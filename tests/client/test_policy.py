from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assay.client.policy import Policy, load_policy, parse_policy
from assay.model.errors import CallerError
from assay.model.names import parse_project_name

DEMO = parse_project_name("demo")
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def test_a_whole_policy() -> None:
    policy = parse_policy(
        b'mode = "enforce"\nallow_hosts = ["git.example", "*.cdn.example"]\n'
        b'cooldown_days = 7\ncooldown_exempt = ["own-*"]\n'
    )
    assert policy == Policy(("git.example", "*.cdn.example"), 7, ("own-*",))


def test_no_policy_is_the_strictest_policy() -> None:
    assert parse_policy(b"") == Policy()
    assert not Policy().allows_host("example.org")


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("cooldown_days = 1\nalow_hosts = []\n", ":2", "unknown key 'alow_hosts'"),
        ("[cooldown]\ndays = 1\n", ":1", "unknown key 'cooldown'"),
        ('allow_hosts = "example.org"\n', ":1", "not a list"),
        ('\nallow_hosts = ["https://example.org"]\n', ":2", "not legal"),
        ('allow_hosts = ["*"]\n', ":1", "not legal"),
        ("cooldown_days = -1\n", ":1", "not a number of days"),
        ("cooldown_days = true\n", ":1", "not a number of days"),
        ("cooldown_days = 1.5\n", ":1", "not a number of days"),
        ('cooldown_exempt = ["Own_Project"]\n', ":1", "not legal"),
        ('mode = "warn"\n', ":1", "unknown mode"),
        ("cooldown_days = \n", "", "not TOML"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line(text: str, where: str, what: str) -> None:
    with pytest.raises(CallerError, match=what) as refused:
        parse_policy(text.encode())
    assert refused.value.subject == f"assay-policy.toml{where}"


def test_a_missing_policy_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CallerError, match="cannot be read"):
        load_policy(tmp_path / "assay-policy.toml")


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
    assert Policy(allow_hosts=("git.example", "*.cdn.example")).allows_host(host) is allowed


def test_the_cooldown_ends_after_whole_days() -> None:
    policy = Policy(cooldown_days=3)
    assert policy.is_cooling(DEMO, NOW - timedelta(days=3) + timedelta(seconds=1), NOW)
    assert not policy.is_cooling(DEMO, NOW - timedelta(days=3), NOW)
    assert policy.is_cooling(DEMO, NOW + timedelta(days=1), NOW)


def test_equal_policies_have_one_digest_and_others_another() -> None:
    assert Policy(("a.example", "b.example")).digest() == Policy(("b.example", "a.example")).digest()
    assert Policy(cooldown_days=1).digest() != Policy().digest()
