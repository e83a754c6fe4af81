"""Environments made by real installers, then altered as an attacker or an accident would."""

import asyncio
import json
import py_compile
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from assay.cli.demo.programs import Programs
from assay.client.audit.audit import Audit, Verdict, audit
from assay.client.audit.installed import find_environment
from assay.client.audit.launchers import is_launcher
from assay.client.audit.sbom import render_sbom
from assay.model.errors import CallerError, OperatorError, VerificationFailed
from assay.model.outcomes import exit_code_of
from client.memory_source import MemorySource
from client.small_distributions import build_wheel, wheel_metadata

PROGRAMS = Programs.find()
ENTRY_POINTS = b"[console_scripts]\ndemo-run = demo_pkg.main:run\n"
DEMO = build_wheel(
    "demo",
    "1.0",
    files={
        "demo_pkg/__init__.py": b"",
        "demo_pkg/main.py": b"def run():\n    return 0\n",
        "demo-1.0.data/scripts/demo-tool": b"#!python\nprint('tool')\n",
        "demo-1.0.data/data/share/demo.txt": b"shared\n",
        "demo-1.0.dist-info/entry_points.txt": ENTRY_POINTS,
    },
)


class Machine:
    """A virtual environment with ``demo`` in it, and an index that vouches for ``demo``."""

    def __init__(self, folder: Path, installer: str) -> None:
        self.venv = folder / "venv"
        self.source = MemorySource(folder / "files")
        self.source.folder.mkdir()
        self.source.add("demo-1.0-py3-none-any.whl", DEMO, metadata=wheel_metadata("demo", "1.0"))
        self._installer = installer
        _run(*PROGRAMS.uv, "venv", "--quiet", "--offline", "--python", sys.executable, str(self.venv))
        self.install("demo", "--no-index", "--find-links", str(self.source.folder))

    def install(self, *words: str) -> None:
        python = str(self.venv / "bin" / "python")
        if self._installer == "uv":
            _run(*PROGRAMS.uv, "pip", "install", "--quiet", "--no-config", "--offline", "--python", python, *words)
        else:
            _run(*PROGRAMS.pip, "--python", python, "install", "--quiet", *words)

    @property
    def library(self) -> Path:
        return next(self.venv.glob("lib/python*/site-packages"))

    def audit(self, *, with_bytecode: bool = False) -> Audit:
        return asyncio.run(audit(self.source, find_environment(self.venv), with_bytecode=with_bytecode))

    def compile(self, source: Path, text: str | None = None) -> Path:
        """Byte-code of ``text`` (the source's own for None) where Python looks for that of ``source``."""
        target = source.parent / "__pycache__" / f"{source.stem}.{sys.implementation.cache_tag}.pyc"
        other = source
        if text is not None:
            other = self.venv / "other.py"
            other.write_text(text)
        py_compile.compile(str(other), str(target), dfile=str(source), doraise=True)
        return target


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "uv")


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_what_an_installer_leaves_is_verified(tmp_path: Path, installer: str) -> None:
    found = Machine(tmp_path, installer).audit(with_bytecode=True)
    assert [(one.installed.project, one.verdict, one.differences) for one in found.findings] == [
        ("demo", Verdict.VERIFIED, ())
    ]
    assert [Path(path).name for path in found.strays if "virtualenv" not in path] == []


def _edit_module(machine: Machine) -> Path:
    path = machine.library / "demo.py"
    path.write_text("evil\n")
    return path


def _edit_module_and_record(machine: Machine) -> Path:
    record = machine.library / "demo-1.0.dist-info" / "RECORD"
    record.write_text("\n".join(line for line in record.read_text().splitlines() if not line.startswith("demo.py")))
    return _edit_module(machine)


def _remove_module(machine: Machine) -> Path:
    path = machine.library / "demo_pkg" / "main.py"
    path.unlink()
    return path


def _edit_launcher(machine: Machine) -> Path:
    path = machine.venv / "bin" / "demo-run"
    path.write_text(path.read_text().replace("import sys\n", "import sys, os\nos.environ.clear()\n"))
    return path


def _edit_script(machine: Machine) -> Path:
    path = machine.venv / "bin" / "demo-tool"
    path.write_text(path.read_text() + "evil()\n")
    return path


def _another_interpreter(machine: Machine) -> Path:
    path = machine.venv / "bin" / "demo-tool"
    path.write_text("#!/tmp/python\n" + path.read_text().partition("\n")[2])
    return path


def _edit_shared_data(machine: Machine) -> Path:
    path = machine.venv / "share" / "demo.txt"
    path.write_text("other\n")
    return path


def _add_to_package(machine: Machine) -> Path:
    path = machine.library / "demo_pkg" / "plugin.py"
    path.write_text("evil\n")
    return path


@pytest.mark.parametrize(
    "alter",
    [
        _edit_module,
        _edit_module_and_record,
        _remove_module,
        _edit_launcher,
        _edit_script,
        _another_interpreter,
        _edit_shared_data,
        _add_to_package,
    ],
)
def test_an_altered_file_is_named(machine: Machine, alter: Callable[[Machine], Path]) -> None:
    path = alter(machine)
    (finding,) = machine.audit().with_verdict(Verdict.ALTERED)
    assert [difference.path for difference in finding.differences] == [str(path)]


def test_forged_byte_code_is_counted_and_found_when_compared(machine: Machine) -> None:
    sound = machine.compile(machine.library / "demo.py")
    found = machine.audit(with_bytecode=True)
    assert (found.bytecode, found.with_verdict(Verdict.ALTERED)) == (1, ())
    machine.compile(machine.library / "demo.py", "VERSION = 'evil'\n")
    assert machine.audit().bytecode == 1
    (finding,) = machine.audit(with_bytecode=True).with_verdict(Verdict.ALTERED)
    assert [(one.path, one.found) for one in finding.differences] == [(str(sound), "not what its source compiles to")]


def test_byte_code_that_crashes_the_comparison_is_not_taken_for_sound(machine: Machine) -> None:
    path = machine.compile(machine.library / "demo.py")
    path.write_bytes(path.read_bytes()[:16] + b"\xdb" + b"\x28" * 400_000)
    (finding,) = machine.audit(with_bytecode=True).with_verdict(Verdict.ALTERED)
    assert [one.path for one in finding.differences] == [str(path)]


def test_code_that_starts_with_every_interpreter_is_a_stray(machine: Machine) -> None:
    path = machine.library / "zz.pth"
    path.write_text("import os\n")
    assert str(path) in machine.audit().strays


def test_what_came_from_elsewhere_is_listed_with_its_origin(machine: Machine, tmp_path: Path) -> None:
    wheel = tmp_path / "local-1.0-py3-none-any.whl"
    wheel.write_bytes(build_wheel("local", "1.0"))
    machine.install(str(wheel))
    (finding,) = machine.audit().with_verdict(Verdict.NOT_VOUCHED_FOR)
    assert (finding.installed.project, finding.reason) == ("local", f"from {wheel.as_uri()}")


@pytest.mark.parametrize(
    ("name", "version", "reason"),
    [("other", "1.0", "the index has no such project"), ("demo", "2.0", "the index has no such version")],
)
def test_what_the_index_does_not_know_is_listed(machine: Machine, name: str, version: str, reason: str) -> None:
    folder = machine.venv / "wheels"
    folder.mkdir()
    (folder / f"{name}-{version}-py3-none-any.whl").write_bytes(build_wheel(name, version))
    machine.install(f"{name}=={version}", "--no-index", "--find-links", str(folder))
    (finding,) = machine.audit().with_verdict(Verdict.NOT_VOUCHED_FOR)
    assert (finding.installed.project, finding.reason) == (name, reason)


def test_a_wheel_that_was_taken_down_is_not_verified(machine: Machine) -> None:
    error = VerificationFailed("taken down", rule="taken-down")
    machine.source.failures["demo-1.0-py3-none-any.whl"] = error
    (finding,) = machine.audit().with_verdict(Verdict.ALTERED)
    assert finding.error is error


def test_the_bill_of_materials_says_what_was_verified(machine: Machine) -> None:
    document = json.loads(render_sbom(machine.audit()))
    (component,) = document["components"]
    assert (component["purl"], document["bomFormat"]) == ("pkg:pypi/demo@1.0", "CycloneDX")
    assert {"name": "assay:verdict", "value": "verified"} in component["properties"]


def test_not_an_interpreter(tmp_path: Path) -> None:
    with pytest.raises(CallerError, match="not a Python interpreter") as caught:
        find_environment(tmp_path / "nothing")
    assert (caught.value.rule, exit_code_of(caught.value)) == ("python", 2)


@pytest.mark.parametrize(
    "body",
    [
        "import sys\nfrom m import f\nif __name__ == '__main__':\n    sys.exit(g())\n",
        "import sys\nfrom evil import f\nif __name__ == '__main__':\n    sys.exit(f())\n",
        "import sys\nfrom m import f\nf()\nif __name__ == '__main__':\n    sys.exit(f())\n",
        "not python at all (",
    ],
)
def test_a_launcher_does_one_thing(body: str) -> None:
    assert not is_launcher(f"#!/v/bin/python\n{body}".encode(), "m", "f", Path("/v/bin"))


def test_without_the_library_there_is_no_bill_of_materials(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "cyclonedx"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(cast("dict[str, object]", sys.modules), "cyclonedx", None)
    with pytest.raises(OperatorError, match="need a library") as caught:
        render_sbom(machine.audit())
    assert (caught.value.rule, exit_code_of(caught.value)) == ("sbom-library", 1)
    assert caught.value.next_step == "pip install 'assay[sbom]'"
