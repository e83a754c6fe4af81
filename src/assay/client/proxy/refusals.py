"""Every refusal of a run, and what it means for the exit code and for the reader.

The record is bounded: what does not fit is counted, and still decides the exit code.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from assay.model.errors import AssayError
from assay.model.outcomes import (
    EXIT_FINE,
    EXIT_FRESHNESS,
    EXIT_NOT_TRUSTED,
    EXIT_POLICY,
    EXIT_VERIFICATION,
    GRAVEST_FIRST,
    READINGS,
    exit_code_of,
)

MAX_REFUSALS: Final = 200

_FINAL: Final = (EXIT_VERIFICATION, EXIT_FRESHNESS, EXIT_NOT_TRUSTED, EXIT_POLICY)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One request that was refused.

    ``url``: without credentials. ``package``: an installer looked for a package here, so that what it installed
    instead may differ for want of it.
    """

    error: AssayError
    url: str
    at: datetime
    package: bool

    @property
    def exit_code(self) -> int:
        """The exit code that this refusal calls for."""
        return exit_code_of(self.error)

    def is_harmless(self, child_code: int) -> bool:
        """Did the child get along without it?

        Only a host that policy does not allow, asked for something that is not a package (telemetry, a version check),
        by a child that ended well. A refused *package* request is never harmless: the installer may have taken the
        same name from another index (dependency confusion).
        """
        return child_code == EXIT_FINE and not self.package and self.exit_code == EXIT_POLICY


class Refusals:
    """The bounded record of a run."""

    def __init__(self, max_entries: int = MAX_REFUSALS) -> None:
        self._max_entries = max_entries
        self._entries: dict[tuple[str, str, str], Refusal] = {}
        self._gravest_beyond: Refusal | None = None
        self.not_shown = 0

    def record(self, error: AssayError, url: str, at: datetime, *, package: bool) -> None:
        """Keep a refusal; the same one again (an installer's retry) is kept once."""
        refusal = Refusal(error, url, at, package)
        key = (url, error.rule, str(error))
        if key in self._entries:
            return
        if len(self._entries) < self._max_entries:
            self._entries[key] = refusal
            return
        self.not_shown += 1
        if self._gravest_beyond is None or _rank(refusal) < _rank(self._gravest_beyond):
            self._gravest_beyond = refusal

    def blocking(self) -> Refusal | None:
        """The first refusal of a package that a retry cannot mend, or None.

        After it no file is handed out: the run has failed, and an installer that swallowed the refusal of a page would
        otherwise install what another index offers under that name.
        """
        return next((refusal for refusal in self.all() if refusal.package and refusal.exit_code in _FINAL), None)

    def all(self) -> tuple[Refusal, ...]:
        """What was kept, in order of time; past the bound, the gravest of the rest as well."""
        beyond = () if self._gravest_beyond is None else (self._gravest_beyond,)
        return (*self._entries.values(), *beyond)


def exit_code_of_run(refusals: Iterable[Refusal], child_code: int) -> int:
    """The gravest refusal's exit code, even if the child ended well; without one that matters, the child's own."""
    codes = {refusal.exit_code for refusal in refusals if not refusal.is_harmless(child_code)}
    return next((code for code in GRAVEST_FIRST if code in codes), child_code)


def reason_line(error: AssayError, max_chars: int = 300) -> str:
    """``error`` as one line of printable ASCII, fit for an HTTP reason phrase."""
    line = " ".join(str(error).split()).encode("ascii", "replace").decode("ascii")
    line = "".join(char if char.isprintable() else "?" for char in line)
    return line if len(line) <= max_chars else line[: max_chars - 3] + "..."


def render_refusals(refusals: Sequence[Refusal], child_code: int, *, not_shown: int = 0) -> str:
    """The explanation after a run, in plain words, the gravest first; empty when there is nothing to explain.

    ``child_code``: how the command itself ended. ``not_shown``: refusals that did not fit the record.
    """
    if not refusals:
        return ""
    shown = sorted(refusals, key=lambda refusal: (refusal.is_harmless(child_code), _rank(refusal), refusal.at))
    grave = [refusal for refusal in shown if not refusal.is_harmless(child_code)]
    blocks = [_heading(len(grave) + not_shown, child_code)] if grave else []
    blocks += [_render_one(refusal) for refusal in grave]
    harmless = [refusal for refusal in shown if refusal.is_harmless(child_code)]
    blocks += [f"assay: note: refused, and the command did without it: {refusal.url}" for refusal in harmless]
    if not_shown:
        blocks.append(f"assay: {not_shown} more refusals are not shown.")
    return "\n".join(blocks) + "\n"


def _heading(count: int, child_code: int) -> str:
    what = "1 request was refused" if count == 1 else f"{count} requests were refused"
    if child_code == EXIT_FINE:
        return (
            f"assay: {what}. The command itself ended well, but it did not get everything that it asked for, so its "
            "result is not what it would have been. Look at what it installed."
        )
    return f"assay: {what}."


def _render_one(refusal: Refusal) -> str:
    error = refusal.error
    lines = ["", f"  {error.subject}: {error.what}" if error.subject else f"  {error.what}"]
    if error.subject is None or error.subject not in refusal.url:
        lines.append(f"    asked for   {refusal.url}")
    if error.expected is not None:
        lines.append(f"    expected    {error.expected}")
    if error.found is not None:
        lines.append(f"    found       {error.found}")
    lines.append(f"    rule        {error.rule}   (assay explain --rule {error.rule})")
    lines.append(f"    reading     {READINGS[error.reading]}")
    if error.next_step is not None:
        lines.append(f"    next step   {error.next_step}")
    return "\n".join(lines)


def _rank(refusal: Refusal) -> tuple[int, bool]:
    return GRAVEST_FIRST.index(refusal.exit_code), not refusal.package
