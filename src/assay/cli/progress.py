"""A progress bar on long work, where a terminal is there to show it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress


@contextmanager
def told_progress(what: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A function that is told how much is done and how much there is, for as long as the block lasts."""
    with Progress(console=Console(stderr=True), disable=quiet or not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task(what)
        yield lambda done, total: progress.update(task, completed=done, total=total)
