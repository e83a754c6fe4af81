"""The minutes of a demo: what is printed while it runs, and every check with its result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must be so. ``detail``: what was found instead, when it is not."""

    name: str
    passed: bool
    detail: str


@dataclass(slots=True)
class Minutes:
    """Prints chapters, commands and results to ``console``, and counts checks."""

    console: Console
    checks: list[Check] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def chapter(self, title: str) -> None:
        """Begin a part of the story."""
        self.console.print(f"\n[bold]{escape(title)}[/bold]")

    def command(self, words: str) -> None:
        """A command that was run, as a person would type it."""
        self.console.print(f"  [cyan]$ {escape(words)}[/cyan]", soft_wrap=True)

    def note(self, text: str) -> None:
        """Lines of explanation, or of a program's output."""
        for line in text.splitlines():
            self.console.print(f"    {escape(line)}", soft_wrap=True)

    def check(self, name: str, passed: bool, detail: str = "") -> bool:
        """Record that ``name`` is so, or not; returns ``passed``."""
        self.checks.append(Check(name, passed, "" if passed else detail))
        mark = "[green]ok[/green]" if passed else "[bold red]FAILED[/bold red]"
        self.console.print(f"  {mark} {escape(name)}", soft_wrap=True)
        if not passed:
            self.note(detail[-3000:])
        return passed

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """Print a table."""
        table = Table(title=title, title_justify="left", show_lines=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*map(escape, row))
        self.console.print()
        self.console.print(table)

    @property
    def failed(self) -> int:
        """How many checks did not pass."""
        return sum(not check.passed for check in self.checks)

    def summary(self) -> str:
        """The last line."""
        return f"demo: {len(self.checks) - self.failed} checks passed, {self.failed} failed"

    def result(self) -> Mapping[str, Any]:
        """Everything as JSON values."""
        rows = [{"check": check.name, "passed": check.passed, "detail": check.detail} for check in self.checks]
        passed = len(self.checks) - self.failed
        return {**self.facts, "checks": rows, "passed": passed, "failed": self.failed}
