"""What an error means for the person at the command line: the program's exit code, and the likely reading in words."""

from collections.abc import Iterable
from typing import Final

from assay.model.errors import (
    AssayError,
    CallerError,
    NotFresh,
    NotTrusted,
    Reading,
    RefusedByPolicy,
    RepositoryError,
    Unreachable,
    UpstreamChanged,
    UpstreamError,
)

EXIT_FINE: Final = 0
EXIT_OPERATOR: Final = 1
EXIT_USAGE: Final = 2
EXIT_VERIFICATION: Final = 10
EXIT_FRESHNESS: Final = 11
EXIT_POLICY: Final = 12
EXIT_UNREACHABLE: Final = 13
EXIT_NOT_TRUSTED: Final = 14

_EXIT_CODES: Final[tuple[tuple[type[AssayError], int], ...]] = (
    (NotFresh, EXIT_FRESHNESS),
    (RefusedByPolicy, EXIT_POLICY),
    (NotTrusted, EXIT_NOT_TRUSTED),
    (RepositoryError, EXIT_VERIFICATION),
    (UpstreamChanged, EXIT_VERIFICATION),
    (UpstreamError, EXIT_UNREACHABLE),
    (Unreachable, EXIT_UNREACHABLE),
    (CallerError, EXIT_USAGE),
)
READINGS: Final = {
    Reading.ATTACK: "This looks like an attack, or like a broken mirror: nothing of it was used.",
    Reading.MISCONFIGURATION: "This looks like a matter of configuration, not like an attack.",
    Reading.EITHER: "This may be an attack or a misconfiguration; take it seriously until you know.",
}


GRAVEST_FIRST: Final = (
    EXIT_VERIFICATION,
    EXIT_FRESHNESS,
    EXIT_NOT_TRUSTED,
    EXIT_POLICY,
    EXIT_UNREACHABLE,
    EXIT_OPERATOR,
    EXIT_USAGE,
)
"""Exit codes in the order of what a person must know first."""


def gravest(errors: Iterable[AssayError]) -> int:
    """The exit code of the gravest of ``errors``; 0 when there are none."""
    codes = {exit_code_of(error) for error in errors}
    return next((code for code in GRAVEST_FIRST if code in codes), EXIT_FINE)


def exit_code_of(error: AssayError) -> int:
    """The exit code of a command that ends with ``error``; 1 for the operator's own trouble."""
    return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), EXIT_OPERATOR)
