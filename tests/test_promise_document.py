"""docs/promise.md: every command in it exists, with its options."""

import re
import shlex
from pathlib import Path

import click
import pytest

from assay.cli import cli

DOCUMENT = Path(__file__).parents[1] / "docs" / "promise.md"
COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(r"```\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    for line in block.splitlines()
    if line.startswith("assay ")
]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_document_is_one(line: str) -> None:
    words = shlex.split(line)[1:]
    context = click.Context(cli)
    command: click.Command = cli
    while isinstance(command, click.Group) and words:
        found = command.get_command(context, words[0])
        assert found is not None, words[0]
        command, context, words = found, click.Context(found, parent=context), words[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
    if "--bundle" not in words:
        command.make_parser(context).parse_args(words)


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 15
