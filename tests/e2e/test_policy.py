"""Policies with real installers against a real index: three layers, routes, the record of who was seen first."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.cli.demo.programs import ASSAY, Done, Person
from client.small_distributions import build_wheel
from e2e.conftest import open_folder
from e2e.house import House, running_house
from e2e.installers import PIP, UV, Installer, modules

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_folder() as folder, running_house(folder) as running:
        running.publish(("demo", "1.0"), ("other", "1.0"), ("inhouse", "1.0"))
        yield running


@pytest.fixture
def other_house() -> Iterator[House]:
    with open_folder() as folder, running_house(folder) as running:
        running.publish(("inhouse", "9.0"), ("theirs", "1.0"))
        yield running


def write(person: Person, text: str, name: str = "assay-policy.toml") -> Path:
    path = person.folder / name
    path.write_text(text)
    return path


def policy(person: Person, *words: str) -> Done:
    return person.run(*ASSAY, "policy", *words)


@pytest.mark.parametrize("installer", [PIP, UV], ids=["pip", "uv"])
def test_a_ring_that_a_file_is_not_in_refuses_it(house: House, installer: Installer) -> None:
    user = house.user()
    path = write(user, '[[rules]]\nprojects = ["demo"]\nrings = "sealed"\n')
    done, installed = installer.install(user, "demo")
    assert (done.code, installed) == (12, [])
    assert "policy-ring" in done.said
    assert f"project's policy, {path}:3" in done.said
    last = user.run(*ASSAY, "explain", "--last", "--json")
    assert [each["rule"] for each in json.loads(last.said)["refusals"]] == ["policy-ring"]
    done, installed = installer.install(user, "other", name="second")
    assert (done.code, modules(installed)) == (0, {"other"})
    audited = user.run(*ASSAY, "audit", "--python", "second", "--json")
    assert audited.code == 0, audited.said
    (found,) = json.loads(audited.said)["distributions"]
    assert found["receipt"]["filename"] == found["file"] == "other-1.0-py3-none-any.whl"


def test_a_warning_installs_and_says_so(house: House) -> None:
    user = house.user()
    write(user, 'mode = "warn"\n[[rules]]\nprojects = ["demo"]\nrings = "sealed"\n')
    done, installed = UV.install(user, "demo")
    assert (done.code, modules(installed)) == (0, {"demo"})
    assert "let pass by policy" in done.said
    assert "only a warning" in done.said


def test_the_users_own_policy_counts_beside_the_projects(house: House) -> None:
    user = house.user()
    own = user.folder / "config" / "assay" / "policy.toml"
    own.parent.mkdir(parents=True)
    own.write_text("cooldown_days = 3\n")
    write(user, '[[exemptions]]\nprojects = ["*"]\nrules = ["cooldown_days"]\nuntil = 2099-01-01\nreason = "x"\n')
    done, installed = UV.install(user, "demo")
    assert done.code != 0
    assert installed == []
    assert "younger than the policy's cooldown" in done.said
    assert "dated too far away to count" in done.said


@pytest.mark.parametrize("text", ["cooldown = 3\n", None])
def test_a_policy_that_cannot_be_read_runs_nothing(house: House, text: str | None) -> None:
    user = house.user()
    path = user.folder / "assay-policy.toml"
    if text is None:
        path.symlink_to(user.folder / "nowhere")
    else:
        path.write_text(text)
    done, installed = UV.install(user, "demo")
    assert (done.code, installed) == (2, [])
    assert "policy-file" in done.said


@pytest.mark.parametrize("installer", [PIP, UV], ids=["pip", "uv"])
def test_B1_a_routed_name_never_comes_from_another_index(
    house: House, other_house: House, installer: Installer
) -> None:
    user = house.user()
    write(user, f'[[rules]]\nprojects = ["inhouse", "theirs"]\nindex = "{other_house.index.url}"\n')
    done, installed = installer.install(user, "inhouse")
    assert installed == []
    assert done.code == 12
    assert "policy-index" in done.said
    trusted = user.run(*ASSAY, "trust", "add", other_house.index.url, "--fingerprint", other_house.index.fingerprint)
    assert trusted.code == 0
    environment = f"--index={house.index.url}"
    done, installed = _install(user, installer, environment, "inhouse", "theirs", "demo")
    assert (done.code, modules(installed)) == (0, {"inhouse", "theirs", "demo"})
    assert any("inhouse-9.0" in path for path in installed)


def _install(user: Person, installer: Installer, option: str, *requirements: str) -> tuple[Done, list[str]]:
    from assay.cli.demo.programs import Environment
    from e2e.house import PROGRAMS

    environment = Environment.make(PROGRAMS, user, "routed")
    done = user.run(*ASSAY, "run", option, "--", *installer.command(environment, *requirements))
    return done, environment.installed()


def test_the_organisations_policy_is_published_obeyed_and_never_goes_back() -> None:
    with open_folder() as folder, running_house(folder) as mine:
        mine.publish(("demo", "1.0"))
        admin = mine.user(ASSAY_TOKEN=mine.token)
        assert UV.install(admin, "demo")[0].code == 0
        strict = write(admin, '[[rules]]\nprojects = ["demo"]\nrings = "sealed"\n', "org.toml")
        done = policy(admin, "publish", str(strict), "--json")
        assert done.code == 0, done.said
        assert json.loads(done.said)["version"] == 1
        user = mine.user()
        write(user, 'mode = "warn"\n[[rules]]\nprojects = ["demo"]\nrings = "sealed"\n')
        done, installed = UV.install(user, "demo")
        assert (done.code, installed) == (12, [])
        assert "organisation's policy" in done.said
        explained = policy(user, "explain", "demo", "--json")
        assert explained.code == 12
        assert any("organisation" in rule for rule in json.loads(explained.said)["rules"])

        loose = write(admin, "", "org.toml")
        done = policy(admin, "publish", str(loose))
        assert "loosened: no longer asked of demo" in done.said
        done, _ = UV.install(user, "demo", name="later")
        assert done.code == 0
        assert "changed from version 1 to 2" in done.said
        removed = mine.operator("remove", "assay-policy", "2", "--reason", "too loose")
        assert removed.code == 0, removed.said
        done, installed = UV.install(user, "demo", name="after")
        assert (done.code, installed) == (11, [])
        assert "policy-rollback" in done.said


def test_nobody_but_an_administrator_registers_the_organisations_policy(house: House) -> None:
    assert house.operator("user", "create", "mallory").code == 0
    token = house.operator("token", "create", "mallory").said.strip()
    wheel = build_wheel("assay_policy", "7")
    answer = house.upload("assay_policy-7-py3-none-any.whl", wheel, token)
    assert answer.status == 403
    assert "only an administrator registers it" in answer.reason + answer.body.decode()
    assert house.page("assay-policy") is None


def test_a_pull_request_that_loosens_is_named(house: House) -> None:
    user = house.user()
    base = user.folder / "base"
    base.mkdir()
    (base / "assay-policy.toml").write_text("allow_hosts = []\ncooldown_days = 7\n")
    (base / "assay-seen.json").write_text(
        '{"assay-seen": 1, "projects": {"demo": {"certificates": ["' + "A" * 40 + '"], "publishers": [], "lines": {}}}}'
    )
    write(user, 'allow_hosts = ["evil.example"]\ncooldown_days = 1\n')
    write(user, '{"assay-seen": 1, "projects": {}}', "assay-seen.json")
    done = policy(user, "check", "--base", "base", "--json")
    assert done.code == 12, done.said
    findings = " / ".join(json.loads(done.said.splitlines()[0])["findings"])
    for part in ("uploaded at least 7 days ago", "evil.example", "demo would be seen for the first time again"):
        assert part in findings
    write(user, 'allow_hosts = []\ncooldown_days = 7\n[[rules]]\nprojects = ["x"]\nrings = "sealed"\n')
    (user.folder / "assay-seen.json").write_text((base / "assay-seen.json").read_text())
    assert policy(user, "check", "--base", "base").code == 0


def test_a_proposed_policy_passes_what_is_installed(house: House) -> None:
    user = house.user()
    done, _ = UV.install(user, "demo", "other")
    assert done.code == 0
    done = policy(user, "init", "--python", "venv")
    assert done.code == 0, done.said
    assert (user.folder / "assay-seen.json").exists()
    assert f'index = "{house.index.url}"' in (user.folder / "assay-policy.toml").read_text()
    assert policy(user, "check").code == 0
    done, installed = UV.install(user, "demo", "other", name="again")
    assert (done.code, modules(installed)) == (0, {"demo", "other"})
    assert policy(user, "init", "--python", "venv").code == 2
