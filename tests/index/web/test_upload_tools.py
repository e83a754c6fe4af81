"""What people who publish see: unmodified twine and uv, and pip as the reader."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from assay.model.errors import InvalidUpload, StorageUnavailable
from client.small_distributions import build_sdist, build_wheel
from index.web.folder_index import TOKEN, FolderIndex
from index.web.running import Address

pytestmark = pytest.mark.e2e

WHEEL = "demo-1.0-py3-none-any.whl"


def run(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TWINE_", "UV_", "PIP_"))}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env=clean | {"NO_COLOR": "1", "NO_PROXY": "*", "COLUMNS": "400", "HOME": str(cwd)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def twine(web: Address, cwd: Path, *files: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    options = ("--non-interactive", "--disable-progress-bar", "-u", "__token__", "-p", token)
    return run("twine", "upload", "--repository-url", f"{web.url}legacy/", *options, *files, cwd=cwd)


def uv_publish(web: Address, cwd: Path, *files: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    options = ("--publish-url", f"{web.url}legacy/", "--token", token, "--no-cache")
    return run("uv", "publish", *options, *files, cwd=cwd)


TOOLS = {"twine": twine, "uv": uv_publish}


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    folder.mkdir()
    (folder / WHEEL).write_bytes(build_wheel("demo", "1.0", requires=["other>=1; python_version > '3'"]))
    sdist = build_sdist("demo", "1.0", build_requires=["flit_core"], backend="flit_core.buildapi")
    (folder / "demo-1.0.tar.gz").write_bytes(sdist)
    return folder


@pytest.mark.parametrize("tool", TOOLS)
def test_wheel_and_sdist_are_published_and_again(tool: str, index: FolderIndex, web: Address, dist: Path) -> None:
    for _attempt in range(2):
        done = TOOLS[tool](web, dist, WHEEL, "demo-1.0.tar.gz")
        assert done.returncode == 0, done.stdout + done.stderr
    page = index.page("demo")
    assert page is not None
    assert [file.filename for file in page.files] == [WHEEL, "demo-1.0.tar.gz"]
    assert web.get(f"/packages/demo/1.0/{WHEEL}").body == (dist / WHEEL).read_bytes()
    assert b"Requires-Dist: other>=1" in web.get(f"/packages/demo/1.0/{WHEEL}.metadata").body
    assert index.leftovers() == []


@pytest.mark.parametrize("tool", TOOLS)
def test_a_refusal_is_shown_word_for_word(tool: str, index: FolderIndex, web: Address, dist: Path) -> None:
    index.refusal = InvalidUpload("the summary has two lines", subject="summary", rule="metadata-summary")
    done = TOOLS[tool](web, dist, WHEEL)
    assert done.returncode != 0
    assert "summary: the summary has two lines" in done.stdout + done.stderr


@pytest.mark.parametrize("tool", TOOLS)
def test_a_wrong_token_is_explained(tool: str, index: FolderIndex, web: Address, dist: Path) -> None:
    done = TOOLS[tool](web, dist, WHEEL, token="wrong")
    assert done.returncode != 0
    assert "this token is not known here" in done.stdout + done.stderr
    assert index.page("demo") is None


@pytest.mark.parametrize("tool", TOOLS)
def test_other_bytes_under_a_taken_name(tool: str, index: FolderIndex, web: Address, dist: Path) -> None:
    index.add(WHEEL, b"the first bytes", b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
    done = TOOLS[tool](web, dist, WHEEL)
    assert done.returncode != 0
    assert "already exists with other bytes" in done.stdout + done.stderr


def test_uv_checks_the_page_before_it_uploads(index: FolderIndex, web: Address, dist: Path) -> None:
    index.add(WHEEL, (dist / WHEEL).read_bytes())
    index.refusal = StorageUnavailable("nothing may arrive")
    done = uv_publish(web, dist, "--check-url", f"{web.url}simple/", WHEEL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "already exists" in done.stdout + done.stderr


def test_pip_installs_what_was_uploaded(web: Address, dist: Path, tmp_path: Path) -> None:
    (dist / WHEEL).write_bytes(build_wheel("demo", "1.0"))
    assert twine(web, dist, WHEEL).returncode == 0
    target = tmp_path / "target"
    options = ("--no-cache-dir", "--disable-pip-version-check", "--target", str(target))
    done = run("pip", "install", "--isolated", "--index-url", f"{web.url}simple/", *options, "demo", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (target / "demo.py").read_text() == "VERSION = '1.0'\n"
