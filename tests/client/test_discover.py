"""pip itself is asked; the answers are compared with what the test wrote into its configuration."""

import os
import shutil
import sys
import time
import venv
from pathlib import Path

import pytest

from assay.client.discover import PipSettings, ask_pip, discover_indexes, parse_config_list
from assay.model.errors import OperatorError
from assay.model.outcomes import exit_code_of
from client.proxied import clean_environ


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A user with this Python first on PATH."""
    found = clean_environ(tmp_path / "home")
    return found | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{found['PATH']}"}


def configure(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "home" / ".config" / "pip" / "pip.conf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_pips_settings_are_asked_of_pip_and_kept_until_they_change(tmp_path: Path, environ: dict[str, str]) -> None:
    configure(tmp_path, "[global]\nindex-url = https://user:secret@one.example/simple\nfind-links =\n    /a\n    /b\n")
    cache = tmp_path / "cache"
    first = ask_pip(environ, cache)
    assert first.effective_index_url == "https://user:secret@one.example/simple"
    assert first.find_links == ("/a", "/b")
    assert first.built_in is not None
    assert first.built_in.startswith("https://")
    started = time.monotonic()
    assert ask_pip(environ, cache) == first
    assert time.monotonic() - started < 0.25
    configure(
        tmp_path, "[global]\nindex-url = https://two.example/simple\n[install]\nindex-url = https://three.example/s\n"
    )
    changed = ask_pip(environ, cache)
    assert changed.index_urls == ("https://three.example/s", "https://two.example/simple")
    assert discover_indexes(environ, cache) == (*changed.index_urls, changed.built_in)


def test_the_environment_comes_first_and_is_never_kept(tmp_path: Path, environ: dict[str, str]) -> None:
    configure(tmp_path, "[global]\nindex-url = https://one.example/simple\nextra-index-url = https://extra.example/s\n")
    cache = tmp_path / "cache"
    with_variables = environ | {
        "PIP_INDEX_URL": "https://user:secret@env.example/simple",
        "PIP_EXTRA_INDEX_URL": "",
        "UV_DEFAULT_INDEX": "corp=https://uv.example/simple",
    }
    found = discover_indexes(with_variables, cache)
    assert found[:2] == ("https://env.example/simple", "https://one.example/simple")
    assert found[-1] == "https://uv.example/simple"
    assert ask_pip(with_variables, cache).extra_index_urls == ("https://extra.example/s",)
    assert ask_pip(environ, cache).effective_index_url == "https://one.example/simple"
    assert all(path.stat().st_mode & 0o077 == 0 for path in cache.iterdir())


def test_a_damaged_kept_answer_is_asked_again(tmp_path: Path, environ: dict[str, str]) -> None:
    cache = tmp_path / "cache"
    first = ask_pip(environ, cache)
    for path in cache.iterdir():
        path.write_bytes(b"{}")
    assert ask_pip(environ, cache) == first


def test_without_pip_uv_is_asked_and_without_either_nothing_is_guessed(tmp_path: Path, environ: dict[str, str]) -> None:
    built_in = ask_pip(environ, tmp_path / "cache").built_in
    venv.create(tmp_path / "bare", symlinks=True)
    bare = str(tmp_path / "bare" / "bin" / "python")
    (tmp_path / "only-uv").mkdir()
    (tmp_path / "only-uv" / "uv").symlink_to(shutil.which("uv", path=environ["PATH"]) or "")
    assert ask_pip(environ | {"PATH": str(tmp_path / "only-uv")}, tmp_path, bare).built_in == built_in
    assert ask_pip(environ | {"PATH": str(tmp_path / "nothing")}, tmp_path, bare) == PipSettings()


def test_the_listing_is_read_as_literals() -> None:
    listing = (
        "global.index-url='https://a.example/x=1'\nnoise\n:env:.find-links='/a'\nglobal.bad=[1,\nglobal.no-index='1'\n"
    )
    assert parse_config_list(listing) == {
        "global.index-url": "https://a.example/x=1",
        ":env:.find-links": "/a",
        "global.no-index": "1",
    }


def test_a_pip_that_says_nothing_is_no_pip_without_settings(tmp_path: Path, environ: dict[str, str]) -> None:
    pip = tmp_path / "bin" / "pip"
    pip.parent.mkdir()
    pip.write_text("#!/bin/sh\necho 'pip.conf: no such section' >&2\nexit 3\n")
    pip.chmod(0o755)
    with pytest.raises(OperatorError, match="pip does not say") as caught:
        ask_pip(environ | {"PATH": str(pip.parent)}, tmp_path / "cache")
    assert (caught.value.rule, exit_code_of(caught.value)) == ("pip-settings", 1)
    assert caught.value.found == "pip.conf: no such section"
    assert not (tmp_path / "cache").exists()
