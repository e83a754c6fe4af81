"""The installers that ``assay run`` must work for, each with a project as its users write it.

Every project needs ``alpha`` (a wheel that needs ``beta``) and ``fromsource`` (an sdist that ``backend`` builds).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".installers"
TOOLS = FOLDER / "all" / "bin"
OLD_PIP = FOLDER / "old-pip" / "bin" / "python"
MODULES = {"alpha", "beta", "fromsource"}
VENV = ".venv"

PROJECT = """[project]
name = "app"
version = "1"
requires-python = ">=3.11"
dependencies = ["alpha", "fromsource"]
"""


@dataclass(frozen=True)
class Tool:
    """``files``: the project's, ``{simple}`` in them stands for the index. ``commands`` end with an installed project.

    ``prepare``: commands that are run first, without Assay. ``lock``: the lock file that a plain ``prepare`` makes.
    ``installs``: the modules that end below ``where``. ``tampered``: whose file is tampered with.
    """

    name: str
    files: Mapping[str, str]
    commands: Sequence[Sequence[str]]
    prepare: Sequence[Sequence[str]] = ()
    lock: str = ""
    installs: frozenset[str] = frozenset(MODULES)
    where: str = VENV
    tampered: str = "beta"
    environ: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path, simple_url: str) -> None:
        """The project's files into ``folder``."""
        folder.mkdir(parents=True)
        for name, text in self.files.items():
            (folder / name).write_text(text.replace("{simple}", simple_url), encoding="utf-8")


def tool(name: str) -> str:
    return str(TOOLS / name)


UV = tool("uv")
PYTHON = tool("python")
BARE_VENV = (PYTHON, "-m", "venv", "--without-pip", VENV)
UV_VENV = (UV, "venv", "--quiet", "--python", PYTHON, VENV)
UV_LOCKED = {
    "files": {"pyproject.toml": PROJECT},
    "prepare": [(UV, "lock", "--quiet", "--python", PYTHON)],
    "lock": "uv.lock",
}

ALL = [
    Tool(
        "pip-23.2",
        {"requirements.txt": "alpha\nfromsource\n"},
        [(str(OLD_PIP), "-m", "pip", "--python", VENV, "install", "-r", "requirements.txt")],
        prepare=[BARE_VENV],
    ),
    Tool(
        "pip-newest",
        {"requirements.txt": "alpha\nfromsource\n"},
        [(PYTHON, "-m", "pip", "--python", VENV, "install", "-r", "requirements.txt")],
        prepare=[BARE_VENV],
    ),
    Tool(
        "uv-pip",
        {"requirements.txt": "alpha\nfromsource\n"},
        [(UV, "pip", "install", "--python", VENV, "-r", "requirements.txt")],
        prepare=[UV_VENV],
    ),
    Tool("uv-sync", **UV_LOCKED, commands=[(UV, "sync", "--python", PYTHON)]),  # type: ignore[arg-type]
    Tool("uv-sync-frozen", **UV_LOCKED, commands=[(UV, "sync", "--frozen", "--python", PYTHON)]),  # type: ignore[arg-type]
    Tool("uv-sync-locked", **UV_LOCKED, commands=[(UV, "sync", "--locked", "--python", PYTHON)]),  # type: ignore[arg-type]
    Tool(
        "uv-lock",
        {"pyproject.toml": PROJECT},
        [(UV, "lock", "--python", PYTHON)],
        installs=frozenset(),
        tampered="fromsource",  # uv reads its pyproject.toml
    ),
    Tool(
        "uv-add",
        {"pyproject.toml": PROJECT.replace('"alpha", ', "")},
        [(UV, "add", "--python", PYTHON, "alpha")],
    ),
    Tool(
        "uv-run",
        {"pyproject.toml": PROJECT},
        [(UV, "run", "--python", PYTHON, "python", "-c", "import alpha, beta, fromsource")],
    ),
    Tool(
        "uv-tool-install",
        {},
        [(UV, "tool", "install", "--force", "--python", PYTHON, "--with", "fromsource", "alpha")],
        where="tools",
        environ={"UV_TOOL_DIR": "tools", "UV_TOOL_BIN_DIR": "bin"},
    ),
    Tool(
        "poetry",
        {
            "pyproject.toml": PROJECT
            + '[tool.poetry]\npackage-mode = false\n[[tool.poetry.source]]\nname = "house"\nurl = "{simple}"\n'
            + 'priority = "primary"\n'
        },
        [(tool("poetry"), "install", "--no-interaction")],
        prepare=[(tool("poetry"), "lock", "--no-interaction")],
        lock="poetry.lock",
        environ={"POETRY_VIRTUALENVS_IN_PROJECT": "true"},
    ),
    Tool(
        "pdm",
        {
            "pyproject.toml": PROJECT
            + '[tool.pdm]\ndistribution = false\n[[tool.pdm.source]]\nname = "pypi"\nurl = "{simple}"\n'
            + "verify_ssl = true\n"
        },
        [(tool("pdm"), "sync", "--no-editable")],
        prepare=[BARE_VENV, (tool("pdm"), "lock")],
        lock="pdm.lock",
        environ={"PDM_CHECK_UPDATE": "false"},
    ),
    Tool(
        "pipenv",
        {
            "Pipfile": '[[source]]\nname = "house"\nurl = "{simple}"\nverify_ssl = true\n\n'
            '[packages]\nalpha = "*"\nfromsource = "*"\n'
        },
        [(tool("pipenv"), "sync", "--python", PYTHON)],
        prepare=[(tool("pipenv"), "lock", "--python", PYTHON)],
        lock="Pipfile.lock",
        environ={"PIPENV_VENV_IN_PROJECT": "1", "PIPENV_NOSPIN": "1"},
    ),
    Tool(
        "hatch",
        {
            "pyproject.toml": PROJECT
            + '[tool.hatch.envs.default]\nskip-install = true\ndependencies = ["alpha", "fromsource"]\npath = ".venv"\n'
        },
        [(tool("hatch"), "env", "create")],
    ),
    Tool(
        "pip-tools",
        {"requirements.in": "alpha\nfromsource\n"},
        [
            (tool("pip-compile"), "--generate-hashes", "--quiet", "requirements.in"),
            (tool("pip-sync"), "--python-executable", f"{VENV}/bin/python", "requirements.txt"),
        ],
        prepare=[
            (PYTHON, "-m", "venv", VENV),
            (tool("pip-compile"), "--generate-hashes", "--quiet", "requirements.in"),
        ],
        lock="requirements.txt",
    ),
    Tool(
        "tox",
        {
            "tox.ini": "[tox]\nskipsdist = true\nenvlist = one\n[testenv]\ndeps =\n  alpha\n  fromsource\n"
            'commands = python -c "import alpha, beta, fromsource"\n'
        },
        [(tool("tox"), "run")],
        where=".tox",
    ),
    Tool(
        "nox",
        {
            "noxfile.py": "import nox\n\n@nox.session\ndef one(session):\n"
            "    session.install('alpha', 'fromsource')\n"
            "    session.run('python', '-c', 'import alpha, beta, fromsource')\n"
        },
        [(tool("nox"),)],
        where=".nox",
    ),
    Tool(
        "build",
        {
            "pyproject.toml": '[build-system]\nrequires = ["backend"]\nbuild-backend = "backend_backend"\n'
            '[project]\nname = "app"\nversion = "1"\n'
        },
        [(PYTHON, "-m", "build", "--wheel")],
        installs=frozenset(),
        where="dist",
        tampered="backend",
    ),
]
