"""Provenance of upstream projects: fetched, verified, kept, served again; whoever was seen first is remembered."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from assay.cli.demo.programs import ASSAY, Done, Person
from assay.index.config import DataFolder
from assay.index.ledger import Ledger, schema
from assay.model.digests import sha256_of
from assay.provenance.identities import SignerIdentity
from assay.provenance.own_root.attest import render_statement
from client.small_distributions import build_wheel
from e2e.conftest import open_folder
from e2e.house import PROGRAMS, House, ask, running_house
from e2e.upstream import Upstream, running_upstream
from provenance.attestation_data import GITHUB, SLSA, edited, read
from provenance.own_root_world import WORKFLOW, Organisation

pytestmark = pytest.mark.e2e

BUNDLE = {"kind": "whoever", "claims": "anything"}
"""What the provenance object says of its publisher: nobody believes it."""


@pytest.fixture(scope="module")
def company() -> Organisation:
    return Organisation()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def house(upstream: Upstream, company: Organisation) -> Iterator[House]:
    """An index that pulls through from an upstream with a Sigstore root of its own."""
    with open_folder() as path:
        root = path / "upstream-root.json"
        root.write_bytes(company.trust.root)
        config = f'[upstream]\nmax_age_s = 0\ntrust_root = "{root}"\n'
        with running_house(path, "--upstream", upstream.simple_url, config=config) as running:
            yield running


@pytest.fixture
def user(house: House, upstream: Upstream) -> Person:
    return house.user(PIP_INDEX_URL=upstream.simple_url)


def publish(
    upstream: Upstream,
    company: Organisation,
    project: str,
    version: str,
    identity: SignerIdentity | None = WORKFLOW,
    *,
    days_ago: float = 1,
) -> str:
    """A wheel on the upstream, attested by ``identity`` (None: not at all); its filename."""
    filename, data = f"{project}-{version}-py3-none-any.whl", build_wheel(project, version)
    upstream.add(project, filename, data)
    uploaded = datetime.now(UTC) - timedelta(days=days_ago)
    upstream.uploaded[filename] = uploaded.isoformat()
    if identity is not None:
        statement = render_statement(filename, sha256_of(data))
        attestation = company.attest(identity, statement=statement, now=uploaded)
        bundle = {"publisher": BUNDLE, "attestations": [json.loads(attestation)]}
        upstream.provenance[filename] = json.dumps({"version": 1, "attestation_bundles": [bundle]}).encode()
    return filename


def install(person: Person, *what: str, policy: str = "") -> Done:
    options: tuple[str, ...] = ()
    if policy:
        person.folder.mkdir(exist_ok=True, parents=True)
        (person.folder / "policy.toml").write_text(policy)
        options = ("--policy", "policy.toml")
    pip = (*PROGRAMS.pip, "install", "--no-cache-dir", "--no-deps", "--target", f"there-{abs(hash(what + options))}")
    return person.run(*ASSAY, "run", *options, "--", *pip, *what)


def events(house: House, kind: str) -> list[dict[str, str]]:
    """The facts of the index's events of ``kind``, oldest first."""
    ledger = Ledger.open(DataFolder(house.index.data).ledger_file)
    try:
        with ledger.read() as connection:
            rows = select(schema.events.c.facts).where(schema.events.c.kind == kind).order_by(schema.events.c.id)
            return list(connection.scalars(rows))
    finally:
        ledger.close()


def test_provenance_is_fetched_verified_pinned_and_served_again(
    house: House, upstream: Upstream, company: Organisation, user: Person
) -> None:
    filename = publish(upstream, company, "attested", "1.0")
    done = install(user, "attested")
    assert done.code == 0, done.said
    page = house.page("attested")
    assert page is not None
    entry = page["files"][0]
    assert entry["provenance"].endswith(f"{filename}.provenance")
    assert entry["_provenance"]["by"] == ["GitLab pipeline ci.yml of org/project on https://git.example.org"]
    [seen] = page["meta"]["_assay"]["publishers"]
    assert seen["first-seen"] is True
    assert seen["publisher"]["repository_id"] == "7"
    upstream.provenance[filename] = b""
    served = ask(f"{house.index.url}integrity/attested/1.0/{filename}/provenance")
    assert served.status == 200
    assert json.loads(served.body)["attestation_bundles"][0]["publisher"] == BUNDLE
    told = user.run(*ASSAY, "explain", "attested")
    assert "attested   by GitLab pipeline ci.yml of org/project" in told.said
    assert "verified here just now against" in told.said


def test_a_renamed_workflow_of_the_same_repository_is_the_same_publisher(
    upstream: Upstream, company: Organisation, user: Person
) -> None:
    publish(upstream, company, "renaming", "1.0", days_ago=9)
    assert install(user, "renaming").code == 0
    moved = replace(
        WORKFLOW,
        subjects=("https://git.example.org/neworg/project//release.yml@refs/tags/v1",),
        repository="https://git.example.org/neworg/project",
        build_config="https://git.example.org/neworg/project//release.yml@refs/tags/v1",
    )
    publish(upstream, company, "renaming", "2.0", moved)
    done = install(user, "renaming==2.0")
    assert done.code == 0, done.said


def test_another_publisher_than_the_one_seen_first_is_an_alarm_and_policy_decides(
    house: House, upstream: Upstream, company: Organisation, user: Person
) -> None:
    publish(upstream, company, "hijacked", "1.0", days_ago=9)
    assert install(user, "hijacked").code == 0
    thief = replace(
        WORKFLOW,
        subjects=("https://git.example.org/thief/project//ci.yml@refs/tags/v1",),
        repository="https://git.example.org/thief/project",
        repository_id="666",
        owner_id="666",
        build_config="https://git.example.org/thief/project//ci.yml@refs/tags/v1",
    )
    publish(upstream, company, "hijacked", "2.0", thief)
    done = install(user, "hijacked==2.0")
    assert done.code == 12, done.said
    assert "attester-changed" in done.said
    assert "git.example.org/thief/project" in done.said
    [change] = events(house, "upstream-publisher-changed")
    assert change["filename"] == "hijacked-2.0-py3-none-any.whl"
    assert install(user, "hijacked==1.0").code == 0
    told = install(user, "hijacked==2.0", policy='first_seen = "warn"\n')
    assert told.code == 0, told.said
    assert "let pass by policy" in told.said
    assert "attester-changed" in told.said
    root = house.folder / "upstream-root.json"
    named = (
        '[[rules]]\nprojects = ["hijacked"]\n'
        'published_by = { kind = "GitLab", repository = "thief/project", workflow_filepath = "ci.yml", '
        f'server = "https://git.example.org", trust_root = "{root}" }}\n'
    )
    chosen = install(user, "hijacked==2.0", policy=named)
    assert chosen.code == 0, chosen.said
    strict = install(user, "hijacked==1.0", policy=named)
    assert strict.code == 12, strict.said
    assert "policy-attester" in strict.said


def test_a_release_without_attestation_after_one_with_is_an_alarm(
    upstream: Upstream, company: Organisation, user: Person
) -> None:
    publish(upstream, company, "faded", "0.9", None, days_ago=20)
    publish(upstream, company, "faded", "1.0", days_ago=9)
    assert install(user, "faded==1.0").code == 0
    publish(upstream, company, "faded", "2.0", None)
    done = install(user, "faded==2.0")
    assert done.code == 12, done.said
    assert "attestation-lost" in done.said
    assert install(user, "faded==0.9").code == 0
    told = install(user, "faded==2.0", policy='first_seen = "warn"\n')
    assert told.code == 0, told.said
    assert "attestation-lost" in told.said


def test_announced_provenance_that_does_not_verify_is_an_alarm_with_the_reason(
    house: House, upstream: Upstream, company: Organisation, user: Person
) -> None:
    publish(upstream, Organisation(), "forged", "1.0")
    done = install(user, "forged")
    assert done.code == 12, done.said
    assert "attestation-unverified" in done.said
    assert "transparency log" in done.said
    publish(upstream, company, "withheld", "1.0")
    upstream.provenance["withheld-1.0-py3-none-any.whl"] = b""
    gone = install(user, "withheld")
    assert gone.code == 12, gone.said
    assert "does not serve the provenance" in gone.said
    rules = [facts["rule"] for facts in events(house, "upstream-provenance-refused")]
    assert rules == ["attestation-log", "provenance-missing"]


def test_the_operator_registers_the_publisher_of_an_upstream_project(
    house: House, upstream: Upstream, company: Organisation, user: Person
) -> None:
    publish(upstream, company, "chosen", "1.0", days_ago=9)
    assert install(user, "chosen").code == 0
    root = str(house.folder / "upstream-root.json")
    words = ("--gitlab", "org/project", "--workflow", "other.yml", "--server", "https://git.example.org")
    done = house.operator("attester", "add", "chosen", *words, "--trust-root", root)
    assert done.code == 0, done.said
    publish(upstream, company, "chosen", "2.0")
    refused = install(user, "chosen==2.0")
    assert refused.code == 10, refused.said
    assert "not by the publisher that the index's operator registered" in refused.said
    assert "other.yml" in refused.said


def test_real_attestations_of_a_real_project_verify_with_the_bundled_root(tmp_path: Path) -> None:
    """Recorded once from the public project trailofbits/pypi-attestations; no network, Sigstore's production root."""
    sdist = read(GITHUB.filename)
    with running_upstream() as upstream, open_folder() as path:
        upstream.add("pypi-attestations", GITHUB.filename, sdist)
        both = [json.loads(sample.attestation) for sample in (GITHUB, SLSA)]
        provenance = {"publisher": BUNDLE, "attestations": both}
        upstream.provenance[GITHUB.filename] = json.dumps({"version": 1, "attestation_bundles": [provenance]}).encode()
        upstream.uploaded[GITHUB.filename] = "2024-12-16T00:00:00Z"
        flipped = edited(GITHUB.attestation, lambda document: document["envelope"].update(signature="AAAA"))
        tampered = {"publisher": BUNDLE, "attestations": [json.loads(flipped)]}
        other = "pypi_attestations-0.0.20.tar.gz"
        upstream.add("pypi-attestations", other, sdist)
        upstream.provenance[other] = json.dumps({"version": 1, "attestation_bundles": [tampered]}).encode()
        with running_house(path, "--upstream", upstream.simple_url, config="[upstream]\nmax_age_s = 0\n") as house:
            user = house.user()
            at_hand = tmp_path / GITHUB.filename
            at_hand.write_bytes(sdist)
            good = user.run(*ASSAY, "verify", str(at_hand))
            assert good.code == 0, good.said
            told = user.run(*ASSAY, "explain", "pypi-attestations==0.0.19")
            assert "GitHub workflow release.yml of trailofbits/pypi-attestations" in told.said
            assert "verified here just now against sigstore production" in told.said
            assert "built from https://github.com/trailofbits/pypi-attestations at refs/tags/v0.0.19" in told.said
            (tmp_path / other).write_bytes(sdist)
            bad = user.run(*ASSAY, "verify", str(tmp_path / other))
            assert bad.code == 12, bad.said
            assert "attestation-unverified" in bad.said
