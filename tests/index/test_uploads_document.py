"""docs/uploads.md tells the defaults as they are."""

import dataclasses
import re
import tomllib
from pathlib import Path

from assay.index.config import IndexConfig, load_config

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "uploads.md"


def test_the_settings_are_the_defaults(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "config.toml").write_text(blocks[0], encoding="utf-8")
    assert load_config(tmp_path / "config.toml") == IndexConfig()
    told = tomllib.loads(blocks[0])
    for section in ("uploads", "names", "limits", "access"):
        assert set(told[section]) == {field.name for field in dataclasses.fields(getattr(IndexConfig(), section))}
