"""What each lock format pins, and on which line it stands."""

from pathlib import Path

import pytest

from assay.client.lock.entries import Locked
from assay.client.lock.verify import read_lock
from assay.model.errors import CallerError

ONE, TWO = "1" * 64, "2" * 64
WHEEL, SDIST = "demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz"
BOTH = [
    ("demo", "1.0", WHEEL, f"sha256:{ONE}"),
    ("demo", "1.0", SDIST, f"sha256:{TWO}"),
]

REQUIREMENTS = f"""# a comment
-i https://index.example/simple
demo==1.0 ; python_version > "3" \\
    --hash=sha256:{ONE} \\
    --hash=sha256:{TWO}  # why
Loose>=1
-e ./here
thing @ git+https://example.org/thing@abc
"""
UV = f"""version = 1
[[package]]
name = "app"
version = "0"
source = {{ editable = "." }}
dependencies = [{{ name = "demo" }}]
[[package]]
name = "demo"
version = "1.0"
source = {{ registry = "https://index.example/simple" }}
sdist = {{ url = "https://files.example/{SDIST}", hash = "sha256:{TWO}", size = 1 }}
wheels = [
    {{ url = "https://files.example/{WHEEL}", hash = "sha256:{ONE}", size = 1 }},
]
[[package]]
name = "thing"
version = "1"
source = {{ git = "https://example.org/thing?rev=abc#abc" }}
"""
POETRY = f"""[[package]]
name = "demo"
version = "1.0"
files = [
    {{file = "{WHEEL}", hash = "sha256:{ONE}"}},
    {{file = "{SDIST}", hash = "sha256:{TWO}"}},
]
[[package]]
name = "thing"
version = "1"
files = []
[package.source]
type = "git"
url = "https://example.org/thing"
"""
POETRY_1 = f"""[[package]]
name = "demo"
version = "1.0"
[metadata.files]
demo = [
    {{file = "{WHEEL}", hash = "sha256:{ONE}"}},
    {{file = "{SDIST}", hash = "sha256:{TWO}"}},
]
"""
PDM = f"""[[package]]
name = "demo"
version = "1.0"
files = [
    {{url = "https://files.example/a/{WHEEL}", hash = "sha256:{ONE}"}},
    {{file = "{SDIST}", hash = "sha256:{TWO}"}},
]
[[package]]
name = "thing"
version = "1"
git = "https://example.org/thing"
"""
PYLOCK = f"""lock-version = "1.0"
created-by = "hand"
[[packages]]
name = "demo"
version = "1.0"
[[packages.wheels]]
url = "https://files.example/{WHEEL}"
hashes = {{sha256 = "{ONE}"}}
[packages.sdist]
name = "{SDIST}"
hashes = {{sha256 = "{TWO}"}}
[[packages]]
name = "thing"
vcs = {{type = "git", url = "https://example.org/thing", commit-id = "abc"}}
"""
PIPFILE = f"""{{
    "_meta": {{"hash": {{"sha256": "{"3" * 64}"}}}},
    "default": {{
        "demo": {{
            "hashes": [
                "sha256:{ONE}",
                "sha256:{TWO}"
            ],
            "version": "==1.0"
        }},
        "thing": {{
            "git": "https://example.org/thing"
        }}
    }},
    "develop": {{}}
}}
"""


def read(folder: Path, name: str, text: str) -> list[Locked]:
    path = folder / name
    path.write_text(text)
    return list(read_lock(path))


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("uv.lock", UV, [11, 13]),
        ("poetry.lock", POETRY, [5, 6]),
        ("pdm.lock", PDM, [5, 6]),
        ("pylock.toml", PYLOCK, [8, 11]),
        ("pylock.dev.toml", PYLOCK, [8, 11]),
    ],
)
def test_formats_that_name_files(tmp_path: Path, name: str, text: str, lines: list[int]) -> None:
    *files, thing = read(tmp_path, name, text)
    files.sort(key=lambda one: one.digest or "")
    assert [(one.project, one.version, one.filename, one.digest) for one in files] == BOTH
    assert sorted(one.line for one in files) == lines
    assert (thing.project, "example.org/thing" in (thing.elsewhere or "")) == ("thing", True)


def test_poetry_of_the_first_format(tmp_path: Path) -> None:
    found = read(tmp_path, "poetry.lock", POETRY_1)
    assert [(one.project, one.version, one.filename, one.digest, one.line) for one in found] == [
        (*BOTH[0], 6),
        (*BOTH[1], 7),
    ]


def test_requirements(tmp_path: Path) -> None:
    assert read(tmp_path, "requirements.txt", REQUIREMENTS) == [
        Locked(4, "demo", "1.0", digest=f"sha256:{ONE}"),
        Locked(5, "demo", "1.0", digest=f"sha256:{TWO}"),
        Locked(6, "Loose"),
        Locked(7, "./here", elsewhere="an editable install"),
        Locked(8, "thing", elsewhere="git+https://example.org/thing@abc"),
    ]


def test_pipfile(tmp_path: Path) -> None:
    assert read(tmp_path, "Pipfile.lock", PIPFILE) == [
        Locked(6, "demo", "1.0", digest=f"sha256:{ONE}"),
        Locked(7, "demo", "1.0", digest=f"sha256:{TWO}"),
        Locked(11, "thing", elsewhere="git https://example.org/thing"),
    ]


def test_a_hash_that_stands_twice_is_found_beside_its_file(tmp_path: Path) -> None:
    found = read(tmp_path, "uv.lock", UV.replace(TWO, ONE))
    assert {one.filename: one.line for one in found} == {SDIST: 11, WHEEL: 13, None: 16}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("uv.lock", "not toml"),
        ("uv.lock", "package = 3"),
        ("uv.lock", "[[package]]\nversion = '1'"),
        ("poetry.lock", "[[package]]\nname = 3"),
        ("pylock.toml", "lock-version = '2.0'"),
        ("Pipfile.lock", "[]"),
        ("Pipfile.lock", '{"default": {"demo": 3}}'),
        ("Pipfile.lock", '{"default": {"demo": {}, "demo": {}}}'),
        ("requirements.txt", "demo==1.0 what\n"),
        ("unknown.file", ""),
    ],
)
def test_what_is_no_lock_file_is_refused(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(CallerError) as refused:
        read(tmp_path, name, text)
    assert refused.value.rule == "lock-format"
    assert name in (refused.value.subject or "")
