"""The list of verbs and the modules behind it are the same."""

from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import assay.cli
from assay.cli import SECTIONS, SHARED, VERBS, cli

FOLDER = Path(assay.cli.__file__).parent


def test_a_verb_stands_in_one_section() -> None:
    assert len(VERBS) == sum(len(verbs) for verbs in SECTIONS.values())


def test_every_module_with_a_command_is_a_verb() -> None:
    stems = {path.stem for path in FOLDER.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    modules = {stem: import_module(f"assay.cli.{stem}") for stem in stems - {"__init__"}}
    commands = {stem for stem, module in modules.items() if isinstance(getattr(module, "command", None), click.Command)}
    assert {stem.replace("_", "-") for stem in commands} == VERBS - SHARED.keys()


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_explains_itself(verb: str) -> None:
    result = CliRunner().invoke(cli, [verb, "--help"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("Usage: ")
