"""The policy file: read whole, or refused with the line."""

import re
from datetime import date
from pathlib import Path

import pytest

from assay.client.policies import load_layer
from assay.model.errors import CallerError
from assay.model.rings import Ring
from assay.policy.model import FirstSeen, Mode, Projects, Repository
from assay.policy.parse import no_files, parse_layer
from assay.policy.rules import KINDS
from assay.provenance.openpgp import RetiredKeys
from assay.provenance.publishers import GitHubPublisher
from assay.provenance.slsa import BuildRule

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "policy.md"
WHOLE = """
mode = "enforce"
cooldown_days = 7
except = ["acme-*"]
allow_hosts = ["git.example", "*.cdn.example"]
first_seen = "warn"
retired_keys = "refuse"

[[rules]]
projects = ["acme-*"]
except = ["acme-open-*"]
index = "https://pypi.acme.example"
rings = ["witnessed", "sealed"]
mode = "warn"

[[rules]]
projects = ["requests"]
signature = true
signed_by = ["5e9a 5d4b 0000 0000 0000  0000 0000 0000 0000 0000"]
attestation = true
published_by = [{ kind = "GitHub", repository = "psf/requests", workflow = "publish.yml", trust_root = "ours.json" }]
built_by = { source = "https://github.com/psf/requests", ref = "refs/tags/*" }

[[exemptions]]
projects = ["requests"]
versions = ["2.32.9"]
rules = ["cooldown_days"]
until = 2026-12-31
reason = "CVE-2026-1234"

[[repositories]]
url = "https://git.acme.example/*"
"""


def test_everything_a_policy_can_say(tmp_path: Path) -> None:
    (tmp_path / "ours.json").write_bytes(b"{}")
    file = tmp_path / "assay-policy.toml"
    file.write_text(WHOLE)
    layer = load_layer(file, "project")
    assert (layer.hosts, layer.first_seen, layer.retired_keys) == (
        ("git.example", "*.cdn.example"),
        FirstSeen.WARN,
        RetiredKeys.REFUSE,
    )
    rules = {rule.kind: rule for rule in layer.rules}
    assert list(rules) == ["cooldown_days", "index", "rings", *list(rules)[3:]]
    assert set(rules) == set(KINDS), "a kind of rule is missing from this test"
    assert rules["cooldown_days"].projects == Projects(("*",), ("acme-*",))
    assert (rules["index"].value, rules["index"].mode) == ("https://pypi.acme.example/", Mode.WARN)
    assert rules["index"].projects == Projects(("acme-*",), ("acme-open-*",))
    assert rules["rings"].value == (Ring.WITNESSED, Ring.SEALED)
    assert rules["rings"].where == f"{file}:13"
    assert rules["signed_by"].value == ("5E9A5D4B" + "0" * 32,)
    publisher = rules["published_by"].value[0]
    assert publisher.publisher == GitHubPublisher("psf/requests", "publish.yml")
    assert publisher.trust.root == b"{}"
    assert rules["built_by"].value == BuildRule(source="https://github.com/psf/requests", ref="refs/tags/*")
    (exemption,) = layer.exemptions
    assert (exemption.versions, exemption.rules, exemption.until) == (
        ("2.32.9",),
        ("cooldown_days",),
        date(2026, 12, 31),
    )
    assert exemption.where == f"{file}:24"
    assert layer.repositories == (Repository("https://git.acme.example/*"),)


RULE = '[[rules]]\nprojects = ["x"]\n'
EXEMPTION = '[[exemptions]]\nprojects = ["x"]\nrules = ["rings"]\n'


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("cooldown_days = 1\nalow_hosts = []\n", 2, "unknown key 'alow_hosts'"),
        ("[cooldown]\ndays = 1\n", 1, "unknown key 'cooldown'"),
        ('allow_hosts = "example.org"\n', 1, "not a list"),
        ('\nallow_hosts = ["https://example.org"]\n', 2, "not legal"),
        ('allow_hosts = ["*"]\n', 1, "not legal"),
        ("cooldown_days = -1\n", 1, "not a number of days"),
        ("cooldown_days = true\n", 1, "not a number of days"),
        ('except = ["x"]\n', 1, "without a rule beside it"),
        ('mode = "off"\n', 1, "not a value of 'mode'"),
        ('first_seen = "ignore"\n', 1, "not a value of 'first_seen'"),
        ("cooldown_days = \n", 1, "not TOML"),
        ("rules = 3\n", 1, "'rules' is not tables"),
        ("[rules]\nrings = 3\n", 1, "'rules' is not tables"),
        ("[[rules]]\ncooldown_days = 1\n", 1, "without 'projects'"),
        ('[[rules]]\nprojects = []\nrings = "sealed"\n', 2, "'projects' is empty"),
        ('[[rules]]\nprojects = ["Own_Project"]\nrings = "sealed"\n', 2, "not legal"),
        (RULE, 1, "asks for nothing"),
        (f"{RULE}ring = 'sealed'\n", 3, "unknown key 'ring'"),
        (f'{RULE}rings = "silver"\n', 3, "not a list of rings"),
        (f'{RULE}rings = "sealed"\n\n{RULE}rings = []\n', 7, "not a list of rings"),
        (f'{RULE}index = "pypi.example"\n', 3, "not the address of an index"),
        (f"{RULE}signature = false\n", 3, "only 'true'"),
        (f'{RULE}signed_by = ["DEADBEEF"]\n', 3, "not a fingerprint"),
        (f'{RULE}published_by = {{ kind = "Forge" }}\n', 3, "unknown kind"),
        (f'{RULE}published_by = "me"\n', 3, "not a list of tables"),
        (f'{RULE}built_by = {{ workfow = "a" }}\n', 3, "unknown key 'workfow'"),
        (f"{EXEMPTION}until = 2026-12-31\n", 1, "an exemption without 'reason'"),
        (f'{EXEMPTION}reason = "x"\n', 1, "an exemption without 'until'"),
        (f'{EXEMPTION}until = "2026-12-31"\nreason = "x"\n', 4, "not a date"),
        (f'{EXEMPTION}until = 2026-12-31T10:00:00Z\nreason = "x"\n', 4, "not a date"),
        ('[[exemptions]]\nprojects = ["x"]\nrules = ["all"]\nuntil = 2026-12-31\nreason = "x"\n', 3, "no kind of rule"),
        ('[[repositories]]\nurl = "https://*.example/x"\n', 1, "not a repository's"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line(text: str, line: int, what: str) -> None:
    with pytest.raises(CallerError, match=re.escape(what)) as refused:
        parse_layer(text.encode(), "project", "policy.toml", no_files)
    assert refused.value.subject == f"policy.toml:{line}"


def test_a_root_that_cannot_be_read_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    publisher = '{ kind = "GitHub", repository = "a/b", workflow = "c.yml", trust_root = "missing.json" }'
    file.write_text(f'[[rules]]\nprojects = ["x"]\npublished_by = {publisher}\n')
    with pytest.raises(CallerError, match="cannot be read") as refused:
        load_layer(file, "project")
    assert refused.value.subject == f"{file}:3"


def test_every_kind_of_rule_is_documented() -> None:
    documented = set(re.findall(r"^\| `([a-z_]+)` \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE))
    assert set(KINDS) <= documented
