"""The programs that people publish with, as they are: each in a virtual environment of its own, made once."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from assay.cli.demo.programs import Done, Person
from client.small_distributions import build_sdist, build_wheel

INSTALL_TIMEOUT_S = 300


@dataclass(frozen=True)
class Client:
    """``publish``: words that upload the files of ``dist``; ``again``: the same with its skip-existing option, if any.

    ``builds``: the words that build ``dist``, None for a client that takes any wheel and sdist.
    """

    name: str
    requirement: str
    publish: Callable[[str, str], list[str]]
    again: Callable[[str, str], list[str]] | None = None
    settings: Callable[[str, str], Mapping[str, str]] = lambda _url, _token: {}
    builds: tuple[str, ...] | None = None
    backend: str = "flit_core.buildapi"
    requires: str = "flit_core>=3.2"
    words_of_refusal: str = "this project is archived"

    def program(self, folder: Path) -> Path:
        """Its program, installed below ``folder`` if it is not yet."""
        home = folder / self.name
        found = home / "bin" / self.name
        if not found.exists():
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True, timeout=INSTALL_TIMEOUT_S)
            pip = [str(home / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", self.requirement]
            subprocess.run(pip, check=True, timeout=INSTALL_TIMEOUT_S)
        return found


def basic(url: str, token: str) -> list[str]:
    return ["-u", "__token__", "-p", token]


TWINE = Client(
    "twine",
    "twine>=6.1",
    lambda url, token: ["upload", "--non-interactive", "--repository-url", url, *basic(url, token), "DIST"],
)  # twine refuses --skip-existing for every index but the public ones
UV = Client(
    "uv",
    "uv>=0.9",
    lambda url, token: ["publish", "--trusted-publishing=never", "--publish-url", url, "--token", token, "DIST"],
    lambda url, token: [
        "publish", "--trusted-publishing=never", "--publish-url", url, "--token", token,
        "--check-url", url.replace("legacy/", "simple/"), "DIST",
    ],
)  # fmt: skip
POETRY = Client(
    "poetry",
    "poetry>=2",
    lambda url, token: ["publish", "--no-interaction", "-r", "assay", *basic(url, token)],
    lambda url, token: ["publish", "--no-interaction", "--skip-existing", "-r", "assay", *basic(url, token)],
    lambda url, token: {"POETRY_REPOSITORIES_ASSAY_URL": url, "POETRY_KEYRING_ENABLED": "false"},
    builds=("build", "--no-interaction"),
    backend="poetry.core.masonry.api",
    requires="poetry-core>=2",
)
HATCH = Client(
    "hatch",
    "hatch",
    lambda url, token: ["--no-interactive", "publish", "-r", url, "-u", "__token__", "-a", token, "DIST"],
)  # it looks at the project's page by itself and leaves out what is there
FLIT = Client(
    "flit",
    "flit",
    lambda url, token: ["publish"],
    settings=lambda url, token: {"FLIT_INDEX_URL": url, "FLIT_USERNAME": "__token__", "FLIT_PASSWORD": token},
)
PDM = Client(
    "pdm",
    "pdm[locked]",  # without it, pdm takes a hishel that it does not work with
    lambda url, token: ["publish", "--no-build", "-r", url, "-u", "__token__", "-P", token],
    lambda url, token: ["publish", "--no-build", "--skip-existing", "-r", url, "-u", "__token__", "-P", token],
    words_of_refusal="403 Forbidden",  # the cache it speaks through throws reason and body away
)
CLIENTS = (TWINE, UV, POETRY, HATCH, FLIT, PDM)


@dataclass
class Publishing:
    """Somebody's project, and their client with their token."""

    client: Client
    program: Path
    person: Person
    project: str
    url: str
    token: str

    @property
    def dist(self) -> Path:
        return self.person.folder / "dist"

    def write_project(self, module: str = "") -> None:
        """A project of one module, and its distributions."""
        folder = self.person.folder
        self.dist.mkdir(parents=True, exist_ok=True)
        backend = f'requires = ["{self.client.requires}"]\nbuild-backend = "{self.client.backend}"\n'
        facts = f'[project]\nname = "{self.project}"\nversion = "1.0"\ndescription = "a small wheel"\n'
        (folder / "pyproject.toml").write_text(f"[build-system]\n{backend}{facts}", encoding="utf-8")
        text = f'"""A small wheel."""\n__version__ = "1.0"\n{module}'
        (folder / f"{self.project}.py").write_text(text, encoding="utf-8")
        if self.client.builds is not None:
            done = self.run(*self.client.builds)
            assert done.code == 0, done.said
        else:
            files = {f"{self.project}.py": module.encode()}
            wheel = build_wheel(self.project, "1.0", files=files if module else None)
            (self.dist / f"{self.project}-1.0-py3-none-any.whl").write_bytes(wheel)
            sdist = build_sdist(self.project, "1.0", build_requires=["flit_core"], backend=f"other{len(module)}")
            (self.dist / f"{self.project}-1.0.tar.gz").write_bytes(sdist)

    def run(self, *words: str) -> Done:
        files = sorted(str(path) for path in self.dist.iterdir())
        expanded = [each for word in words for each in (files if word == "DIST" else [word])]
        settings = {
            **self.person.settings,
            **self.client.settings(self.url, self.token),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
            "SOURCE_DATE_EPOCH": "1767225600",
            "PATH": f"{self.program.parent}{os.pathsep}{os.environ['PATH']}",
        }
        return Person(self.person.folder, self.person.home, settings).run(str(self.program), *expanded)

    def publish(self) -> Done:
        return self.run(*self.client.publish(self.url, self.token))

    def publish_again(self) -> Done:
        words = self.client.again or self.client.publish
        return self.run(*words(self.url, self.token))
