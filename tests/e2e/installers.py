"""The installers that the tests start: pip in three versions, each in an environment of its own, and uv."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from assay.cli.demo.programs import ASSAY, Done, Environment, Person, require
from e2e.house import PROGRAMS


@dataclass(frozen=True)
class Installer:
    """``requirement``: what to install to get this pip; empty when it is here. ``words`` start it."""

    name: str
    requirement: str = ""
    words: Sequence[str] = ()

    def ready(self, folder: Path) -> "Installer":
        """This installer, installed below ``folder`` where need be: with uv, from the index that uv uses here."""
        if not self.requirement:
            return self
        environment = folder / self.name
        if not environment.exists():
            person = Person(folder / f"{self.name}-maker", folder)
            require(person.run(*PROGRAMS.uv, "venv", "--quiet", str(environment)), "uv venv")
            command = ("pip", "install", "--quiet", "--python", str(environment), self.requirement)
            require(person.run(*PROGRAMS.uv, *command), *command)
        return replace(self, words=(str(environment / "bin" / "python"), "-m", "pip"))

    def command(self, environment: Environment, *requirements: str) -> list[str]:
        if self.name == "uv":
            return [*self.words, "pip", "install", "--python", environment.python, *requirements]
        return [*self.words, "--python", environment.python, "install", *requirements]

    def install(self, person: Person, *requirements: str, name: str = "venv") -> tuple[Done, list[str]]:
        """``assay run -- INSTALLER install REQUIREMENTS`` into a fresh environment; returns the new files, too."""
        environment = Environment.make(PROGRAMS, person, name)
        done = person.run(*ASSAY, "run", "--", *self.command(environment, *requirements))
        return done, environment.installed()


PIP = Installer("pip", words=PROGRAMS.pip)
UV = Installer("uv", words=PROGRAMS.uv)
INSTALLERS = [
    pytest.param(PIP, id="pip"),
    pytest.param(Installer("pip-23.2.1", "pip==23.2.1"), id="pip-23.2.1", marks=pytest.mark.network),
    pytest.param(Installer("pip-newest", "pip"), id="pip-newest", marks=pytest.mark.network),
    pytest.param(UV, id="uv"),
]


def modules(installed: Sequence[str]) -> set[str]:
    """The modules among installed files."""
    return {path.removesuffix(".py") for path in installed if path.endswith(".py") and "/" not in path}
