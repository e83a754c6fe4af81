"""How the command line speaks: results on standard output, everything else on standard error, colours where wanted."""

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from assay.model.errors import AssayError
from assay.model.outcomes import READINGS, exit_code_of


def describe(error: AssayError) -> str:
    """``error`` as a person reads it: what, expected, found, rule, reading, next step; one per line."""
    lines = [click.style(f"assay: {f'{error.subject}: ' if error.subject else ''}{error.what}", fg="red", bold=True)]
    for label, value in (
        ("expected", error.expected),
        ("found", error.found),
        ("rule", f"{error.rule}   (assay explain --rule {error.rule})"),
        ("reading", READINGS[error.reading]),
        ("next", error.next_step),
    ):
        if value is not None:
            lines.append(f"  {label:<9} {value}")
    return "\n".join(lines)


def report_error(error: AssayError) -> int:
    """Print ``error`` on standard error; returns the exit code."""
    click.echo(describe(error), err=True, color=colours(sys.stderr))
    return exit_code_of(error)


def colours(stream: Any) -> bool | None:
    """False when NO_COLOR is set, else None (click decides by the terminal)."""
    return False if os.environ.get("NO_COLOR") or not stream.isatty() else None


def print_result(result: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Print a result: ``text`` for people, or ``result`` as one JSON object."""
    click.echo(json.dumps(result, default=str, sort_keys=True) if as_json else text, color=colours(sys.stdout))


json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
