"""Trusted indexes on this machine: how their addresses are kept, and what does not belong in one."""

from pathlib import Path

import pytest

from assay.client.registry import Bundle, Registry, normal_url
from assay.model.errors import CallerError
from client.memory_source import NOW

SECRET = "assay_sEcReT"


def test_an_address_ends_with_a_slash() -> None:
    assert normal_url("https://pkgs.example/internal") == "https://pkgs.example/internal/"


def test_B4_a_token_in_the_address_is_neither_kept_nor_repeated(tmp_path: Path) -> None:
    with pytest.raises(CallerError) as refused:
        Registry(tmp_path).add(Bundle(f"https://__token__:{SECRET}@pkgs.example/", b"{}"), NOW)
    assert refused.value.rule == "url-credentials"
    assert SECRET not in f"{refused.value} {refused.value.subject} {refused.value.found}"
    assert list(tmp_path.iterdir()) == []
