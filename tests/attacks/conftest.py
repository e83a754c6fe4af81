"""Collects the cells of the attack table from the tests that ran; ``make attacks`` prints it."""

import re
from collections.abc import Callable

import pytest

from attacks.threats import COLUMNS, ROWS, worse

Cell = Callable[[str, str, str], None]


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> Cell:
    """Record what happened: ``cell(row, column, outcome)``."""

    def record(row: str, column: str, outcome: str) -> None:
        assert row in ROWS
        assert column in COLUMNS
        request.node.user_properties.append(("attack", f"{row}|{column}|{outcome}"))

    return record


@pytest.fixture(autouse=True)
def marked_cell(request: pytest.FixtureRequest, cell: Cell) -> None:
    """Tests under ``pytestmark = refuses(column)`` assert a refusal: passing one is the cell of the row in its name."""
    marker = request.node.get_closest_marker("refuses")
    row = re.match(r"test_([AB]\d+)_", request.node.name)
    if marker is not None and row is not None:
        cell(row[1], marker.args[0], "refused")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--attack-table", action="store_true", help="print the table of attacks at the end")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not config.getoption("--attack-table"):
        return
    cells: dict[tuple[str, str], str] = {}
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == "attack":
                row, column, outcome = value.split("|")
                cells[row, column] = worse(outcome, cells.get((row, column), outcome))
    width = max(len(f"{row} {text}") for row, text in ROWS.items()) + 2
    terminalreporter.section("attacks: what a client gets")
    terminalreporter.write_line(" " * width + "".join(f"{column:>22}" for column in COLUMNS))
    for row, text in ROWS.items():
        found = [cells.get((row, column), "") for column in COLUMNS]
        line = "".join(f"{outcome:>22}" for outcome in found) if any(found) else "  no test yet"
        terminalreporter.write_line(f"{f'{row} {text}':<{width}}{line}")
