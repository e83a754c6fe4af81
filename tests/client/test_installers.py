"""Real pip and uv, started by ``run_verified``: what they install, and what they say when they may not."""

import ensurepip
import os
import shutil
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from assay.client.discover import PipSettings
from assay.client.run import RunReport, render_report
from assay.model.errors import AssayError, NotFresh, RefusedByPolicy, Unreachable
from client.proxied import BACKEND, DEMO, DEP, FORGED, SDIST, UPSTREAM_FILES, UPSTREAM_SIMPLE, Bench, add_young
from client.small_distributions import build_wheel

pytestmark = pytest.mark.e2e

OLD_PIP, NEW_PIP, UV = "pip-of-ensurepip", "pip-of-this-environment", "uv"
INSTALLERS = [OLD_PIP, *([NEW_PIP] if find_spec("pip") else []), UV]


@dataclass(frozen=True)
class Installer:
    """``command`` installs with it; ``target`` and requirements follow."""

    name: str
    command: Sequence[str]

    @property
    def is_pip(self) -> bool:
        return self.name != UV


@pytest.fixture(scope="session")
def installers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Installer]:
    """The oldest pip that this Python brings, the one beside it, and uv."""
    folder = tmp_path_factory.mktemp("pip")
    with zipfile.ZipFile(next(Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"))) as wheel:
        wheel.extractall(folder)
    pip = ("install", "--target")
    commands = {
        OLD_PIP: [sys.executable, str(folder / "pip"), *pip],
        NEW_PIP: [sys.executable, "-m", "pip", *pip],
        UV: [uv_program(), "pip", "install", "--python", sys.executable, "--target"],
    }
    return {name: Installer(name, command) for name, command in commands.items()}


def uv_program() -> str:
    found = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return found or "uv"


@pytest.fixture(params=INSTALLERS)
def installer(request: pytest.FixtureRequest, installers: dict[str, Installer]) -> Installer:
    return installers[request.param]


@pytest.fixture
def pip(installers: dict[str, Installer]) -> Installer:
    return installers[INSTALLERS[-2]]


@pytest.fixture
def uv(installers: dict[str, Installer]) -> Installer:
    return installers[UV]


@pytest.fixture
def bench(bench: Bench) -> Bench:
    """The covered upstream is what this user's pip and uv are configured for."""
    environ = {"PIP_INDEX_URL": UPSTREAM_SIMPLE, "UV_DEFAULT_INDEX": UPSTREAM_SIMPLE, "PIP_RETRIES": "0"}
    return replace(bench, environ=environ, pip=PipSettings(index_urls=(UPSTREAM_SIMPLE,)))


def install(bench: Bench, installer: Installer, *words: str) -> tuple[RunReport, set[str]]:
    """The report, and the names of the modules that were installed."""
    target = bench.folder / "target"
    report = bench.run(*installer.command, str(target), *words)
    return report, {path.stem for path in target.glob("*.py")}


def test_wheels_sdists_and_build_dependencies_pass_through(bench: Bench, installer: Installer) -> None:
    report, installed = install(bench, installer, "demo", "own", "nosidecar", "fromsource")
    assert (report.exit_code, report.refusals) == (0, ())
    assert installed == {"demo", "dep", "own", "nosidecar", "fromsource"}
    assert {SDIST, BACKEND} <= set(bench.source.asked)
    assert render_report(report) == ""


def test_a_forged_file_stops_the_installer_with_the_reason(
    bench: Bench, installer: Installer, capfd: pytest.CaptureFixture[str]
) -> None:
    bench.source.failures[DEMO] = FORGED
    report, installed = install(bench, installer, "demo")
    assert (report.exit_code, installed) == (10, set())
    assert report.child_code != 0
    said = " ".join("".join(capfd.readouterr()).split())
    assert "the file is not what was vouched for, expected sha256 aaaa, found sha256 bbbb" in said
    explained = render_report(report)
    for words in ("sha256 aaaa", "sha256 bbbb", "target-hash", "looks like an attack", "tell the operator"):
        assert words in explained


def test_a_forged_sidecar_stops_the_installer(bench: Bench, installer: Installer) -> None:
    bench.source.failures[f"{DEP}.metadata"] = FORGED
    report, installed = install(bench, installer, "demo")
    assert (report.exit_code, installed) == (10, set())


def test_a_forged_build_dependency_is_never_run(bench: Bench, pip: Installer) -> None:
    bench.source.failures[BACKEND] = FORGED
    report, installed = install(bench, pip, "fromsource")
    assert (report.exit_code, installed) == (10, set())


@pytest.mark.parametrize(
    ("error", "code"),
    [(FORGED, 10), (NotFresh("expired"), 11), (Unreachable("no answer"), 13)],
    ids=["forged", "expired", "unreachable"],
)
def test_a_page_that_fails_decides_the_exit_code(bench: Bench, pip: Installer, code: int, error: AssayError) -> None:
    """pip swallows the error and says that there is no such project."""
    bench.source.failures["demo"] = error
    report, installed = install(bench, pip, "demo")
    assert (report.exit_code, installed) == (code, set())


def test_another_index_is_refused(bench: Bench, installer: Installer) -> None:
    option = "--index-url" if installer.is_pip else "--default-index"
    report, installed = install(bench, installer, option, "https://elsewhere.example/simple", "demo")
    assert (report.exit_code, installed) == (12, set())
    assert "https://elsewhere.example/simple/demo/" in {refusal.url for refusal in report.refusals}


def test_no_other_index_answers_in_the_place_of_a_refused_one(bench: Bench, installer: Installer) -> None:
    """Dependency confusion: the private index is not covered, the covered one has a project of the same name."""
    report, installed = install(bench, installer, "--extra-index-url", "https://private.example/simple", "demo")
    assert (report.exit_code, installed) == (12, set())


def test_a_private_index_of_pips_configuration_is_refused_aloud(bench: Bench, pip: Installer) -> None:
    private = "https://private.example/simple"
    bench = replace(bench, pip=replace(bench.pip, extra_index_urls=(private,)))
    report, installed = install(bench, pip, "demo")
    assert (report.exit_code, installed) == (12, set())
    assert report.refusals[0].url.startswith(private)


@pytest.mark.parametrize("place", [f"https://elsewhere.example/{DEMO}", "git+https://elsewhere.example/demo"])
def test_a_direct_reference_to_another_host_is_refused(bench: Bench, installer: Installer, place: str) -> None:
    report, installed = install(bench, installer, f"demo @ {place}")
    assert (report.exit_code, installed) == (12, set())


def test_a_direct_reference_to_what_a_page_lists_is_verified(bench: Bench, installer: Installer) -> None:
    report, installed = install(bench, installer, f"dep @ {UPSTREAM_FILES}{DEP}")
    assert (report.exit_code, installed) == (0, {"dep"})
    assert DEP in bench.source.asked


def test_the_cooldown_takes_the_older_version_and_says_so(bench: Bench, installer: Installer) -> None:
    young = add_young(bench.source)
    report, installed = install(bench.with_policy(cooldown_days=7), installer, "demo")
    assert (report.exit_code, installed) == (0, {"demo", "dep"})
    assert "1.1" in (bench.folder / "target" / "demo.py").read_text()
    assert young in render_report(report)


def test_a_young_file_asked_for_by_name_is_refused(bench: Bench, installer: Installer) -> None:
    young = add_young(bench.source)
    report, installed = install(bench.with_policy(cooldown_days=7), installer, f"demo @ {UPSTREAM_FILES}{young}")
    assert (report.exit_code, installed) == (12, set())


def test_a_warm_cache_does_not_bypass_the_check(bench: Bench, installer: Installer) -> None:
    """What was installed under another trust root or policy, or without Assay, is asked for again."""
    assert install(bench, installer, "demo")[0].exit_code == 0
    shutil.rmtree(bench.folder / "target")
    stricter = bench.with_policy(cooldown_days=0)
    bench.source.failures[DEMO] = FORGED
    report, installed = install(stricter, installer, "demo")
    assert (report.exit_code, installed) == (10, set())


def test_links_to_this_machines_disk_in_pips_configuration_are_not_used(
    bench: Bench, installers: dict[str, Installer]
) -> None:
    links = bench.folder / "links"
    links.mkdir()
    (links / "demo-9.0-py3-none-any.whl").write_bytes(build_wheel("demo", "9.0"))
    config = bench.folder / "home" / ".config" / "pip" / "pip.conf"
    config.parent.mkdir(parents=True)
    config.write_text(f"[global]\nfind-links = {links}\nextra-index-url = file://{links}\nno-index = true\n")
    bench = replace(bench, pip=replace(bench.pip, find_links=(str(links),)))
    for name in INSTALLERS:
        if installers[name].is_pip:
            report, installed = install(bench, installers[name], "--upgrade", "demo")
            assert (report.exit_code, installed) == (0, {"demo", "dep"})
            assert "1.1" in (bench.folder / "target" / "demo.py").read_text()
            assert f"not used, because it cannot be verified: pip's find-links {links}" in render_report(report)


def test_links_to_this_machines_disk_in_uvs_configuration_stop_the_run(bench: Bench, uv: Installer) -> None:
    config = bench.folder / "home" / ".config" / "uv" / "uv.toml"
    config.parent.mkdir(parents=True)
    config.write_text('find-links = ["/some/folder"]\n')
    with pytest.raises(RefusedByPolicy, match="find-links /some/folder"):
        install(bench, uv, "demo")
    assert bench.source.refreshed == 0


def test_a_lock_file_of_uv_keeps_the_urls_of_the_upstream(bench: Bench) -> None:
    project = bench.folder / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["demo"]\n'
    )
    assert bench.run(uv_program(), "lock", "--project", str(project)).exit_code == 0
    locked = (project / "uv.lock").read_text()
    assert f'url = "{UPSTREAM_FILES}{DEMO}"' in locked
    assert "127.0.0.1" not in locked
    bench.source.failures[DEMO] = FORGED
    report = bench.run(uv_program(), "sync", "--frozen", "--no-install-project", "--project", str(project))
    assert report.exit_code == 10
    assert not list(project.glob(".venv/lib/*/site-packages/demo.py"))


def test_a_stranger_on_this_machine_cannot_use_the_proxy(bench: Bench) -> None:
    """A command that drops the credential gets nothing."""
    program = (
        "import os, sys, urllib.request, urllib.error\n"
        "from urllib.parse import urlsplit\n"
        "port = urlsplit(os.environ['HTTP_PROXY']).port\n"
        "opener = urllib.request.build_opener(urllib.request.ProxyHandler({'http': f'http://127.0.0.1:{port}'}))\n"
        "try:\n    opener.open('http://trusted.example:8421/simple/demo/')\n"
        "except urllib.error.HTTPError as error:\n    sys.exit(error.code - 400)\n"
    )
    report = bench.run(sys.executable, "-c", program)
    assert (report.child_code, bench.source.asked) == (7, ["refresh"])


def test_nothing_of_the_run_is_left_behind(bench: Bench) -> None:
    temporary = bench.folder / "tmp"
    temporary.mkdir()
    program = "import os, pathlib; pathlib.Path('{}').write_text(os.environ['SSL_CERT_FILE'])"
    report = bench.run(sys.executable, "-c", program.format(temporary / "said"))
    certificates = Path((temporary / "said").read_text())
    assert report.exit_code == 0
    assert not certificates.parent.exists()
