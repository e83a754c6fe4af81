"""Which resolver ``assay lock pin`` starts, and what it says where there is none."""

import sys
from pathlib import Path
from typing import cast

import pytest

from assay.client.lock.resolving import Resolver, find_resolver
from assay.model.errors import CallerError
from assay.model.outcomes import exit_code_of


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A machine without uv and pip, neither as modules of this Python nor on PATH."""
    for name in ("uv", "pip"):
        monkeypatch.setitem(cast("dict[str, object]", sys.modules), name, None)
    return {"PATH": str(tmp_path)}


@pytest.mark.parametrize(
    ("wanted", "said"), [(None, "neither uv nor pip is here"), (Resolver.UV, "uv is not"), (Resolver.PIP, "pip is not")]
)
def test_without_a_resolver_nothing_is_pinned(environ: dict[str, str], wanted: Resolver | None, said: str) -> None:
    with pytest.raises(CallerError, match=said) as caught:
        find_resolver(environ, wanted)
    assert (caught.value.rule, exit_code_of(caught.value)) == ("resolver-missing", 2)


@pytest.mark.parametrize("resolver", list(Resolver))
def test_a_resolver_on_path_is_found(environ: dict[str, str], tmp_path: Path, resolver: Resolver) -> None:
    program = tmp_path / resolver.value
    program.touch(mode=0o755)
    assert find_resolver(environ, None) == find_resolver(environ, resolver) == (resolver, (str(program),))
