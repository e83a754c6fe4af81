"""``[provenance]`` of the policy file: read whole, or refused with the line; part of the installers' cache key."""

from pathlib import Path

import pytest

from assay.client.policy import load_policy, parse_policy
from assay.client.provenance.policy import FirstSeen, ProvenancePolicy
from assay.model.errors import CallerError
from assay.model.names import parse_project_name
from assay.provenance.openpgp import RetiredKeys
from assay.provenance.publishers import GitHubPublisher
from assay.provenance.slsa import BuildRule

DEMO = parse_project_name("demo")
WHOLE = """
cooldown_days = 3

[provenance]
require_signature = ["internal-*"]
require_attestation = ["demo"]
retired_keys = "refuse"
first_seen = "warn"

[[provenance.signers]]
projects = ["internal-*"]
fingerprints = ["5e9a 5d4b 0000 0000 0000  0000 0000 0000 0000 0000"]

[[provenance.publishers]]
projects = ["demo"]
publisher = { kind = "GitHub", repository = "org/demo", workflow = "release.yml" }
trust_root = "ours.json"

[[provenance.builds]]
projects = ["demo", "other"]
source = "https://github.com/org/demo"
ref = "refs/tags/*"
"""


def test_everything_a_policy_can_say(tmp_path: Path) -> None:
    (tmp_path / "ours.json").write_bytes(b"{}")
    file = tmp_path / "assay-policy.toml"
    file.write_text(WHOLE)
    found = load_policy(file).provenance
    assert (found.retired_keys, found.first_seen) == (RetiredKeys.REFUSE, FirstSeen.WARN)
    demo = found.demands(DEMO)
    assert (demo.signature, demo.attestation) == (False, True)
    assert demo.attesters[0].publisher == GitHubPublisher("org/demo", "release.yml")
    assert demo.attesters[0].trust is not None
    assert demo.builds == (BuildRule(source="https://github.com/org/demo", ref="refs/tags/*"),)
    internal = found.demands(parse_project_name("internal-tool"))
    assert internal.fingerprints == ("5E9A5D4B" + "0" * 32,)
    assert internal.signature
    other = found.demands(parse_project_name("other"))
    assert other.attestation
    assert not found.demands(parse_project_name("unknown")).signature


def test_without_a_policy_the_signed_page_alone_decides() -> None:
    assert parse_policy(b"").provenance == ProvenancePolicy()
    assert parse_policy(b"[provenance]\n").provenance == ProvenancePolicy()


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ('[provenance]\nrequire_signatures = ["x"]\n', 2, "unknown key 'require_signatures'"),
        ('[provenance]\nrequire_signature = "x"\n', 2, "not a list of texts"),
        ('[provenance]\nfirst_seen = "ignore"\n', 2, "not a value of 'first_seen'"),
        ('[provenance]\nretired_keys = "maybe"\n', 2, "not a value of 'retired_keys'"),
        ('[[provenance.signers]]\nprojects = ["x"]\nfingerprints = ["DEADBEEF"]\n', 3, "not a fingerprint"),
        ('[[provenance.signers]]\nfingerprints = ["' + "A" * 40 + '"]\n', None, "'projects' is missing"),
        ('[[provenance.publishers]]\nprojects = ["x"]\npublisher = { kind = "Forge" }\n', 3, "unknown kind"),
        ('[[provenance.publishers]]\nprojects = ["x"]\npublisher = "me"\n', 3, "not a table"),
        ('[[provenance.builds]]\nprojects = ["x"]\nworkfow = "a"\n', 3, "unknown key 'workfow'"),
        ('[[provenance.builds]]\nprojects = ["x"]\nworkflow = 3\n', 3, "not a text"),
        ("provenance = 3\n", 1, "not a table"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line(text: str, line: int | None, what: str) -> None:
    with pytest.raises(CallerError) as caught:
        parse_policy(text.encode(), name="policy.toml")
    assert what in str(caught.value)
    if line is not None:
        assert f"policy.toml:{line}" in str(caught.value)


def test_a_root_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    publisher = '{ kind = "GitHub", repository = "a/b", workflow = "c.yml" }'
    file.write_text(
        f'[[provenance.publishers]]\nprojects = ["x"]\npublisher = {publisher}\ntrust_root = "missing.json"\n'
    )
    with pytest.raises(CallerError) as caught:
        load_policy(file)
    assert "policy.toml:4" in str(caught.value)


def test_another_policy_is_another_cache() -> None:
    digests = {
        parse_policy(text.encode()).digest()
        for text in (
            "",
            '[provenance]\nrequire_signature = ["demo"]\n',
            '[provenance]\nrequire_attestation = ["demo"]\n',
            '[provenance]\nfirst_seen = "warn"\n',
            '[provenance]\nretired_keys = "refuse"\n',
            '[[provenance.builds]]\nprojects = ["demo"]\nworkflow = "a"\n',
            '[[provenance.signers]]\nprojects = ["demo"]\nfingerprints = ["' + "A" * 40 + '"]\n',
        )
    }
    assert len(digests) == 7
