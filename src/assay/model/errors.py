"""Every error that Assay raises on purpose, split by who is to blame.

Errors carry data; only ``index.web`` turns them into HTTP statuses and only ``cli`` into words and exit codes.
Every refusal names its ``rule`` (a stable slug, listed in docs/refusals.md) and, where it compares two things, what was
``expected`` and what was ``found``.
"""

from enum import Enum


class Reading(Enum):
    """What a refusal most likely means to the person who reads it."""

    ATTACK = "attack"
    MISCONFIGURATION = "misconfiguration"
    EITHER = "either"


class AssayError(Exception):
    """Base of all errors raised on purpose.

    ``what``: one sentence, no trailing full stop. ``rule``: slug of the rule that refused.
    ``subject``: file, role, field or archive member it speaks of. ``next_step``: what the reader can do.
    """

    default_rule = "error"
    reading = Reading.EITHER

    def __init__(
        self,
        what: str,
        *,
        rule: str | None = None,
        subject: str | None = None,
        expected: str | None = None,
        found: str | None = None,
        next_step: str | None = None,
        reading: Reading | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.rule = rule or self.default_rule
        self.subject = subject
        self.expected = expected
        self.found = found
        self.next_step = next_step
        if reading is not None:
            self.reading = reading

    def __str__(self) -> str:
        """One line, fit for an HTTP reason phrase or an installer's screen."""
        parts = [f"{self.subject}: {self.what}" if self.subject else self.what]
        if self.expected is not None:
            parts.append(f"expected {self.expected}")
        if self.found is not None:
            parts.append(f"found {self.found}")
        return ", ".join(parts)


# --- the caller: somebody asked for something that cannot be had ---------------------------------------------


class CallerError(AssayError):
    """The request or command is wrong; asking again unchanged will not help."""

    default_rule = "invalid-request"
    reading = Reading.MISCONFIGURATION


class InvalidName(CallerError):
    """Not a legal project name, version or filename."""

    default_rule = "invalid-name"


class InvalidDistribution(CallerError):
    """The file is not one that every installer reads in the same way."""

    default_rule = "invalid-distribution"


class InvalidUpload(CallerError):
    """A field of the upload form is missing, malformed or contradicts the file."""

    default_rule = "invalid-upload"


class NotAllowed(CallerError):
    """Not authenticated, or not permitted."""

    default_rule = "not-allowed"


class NotAuthenticated(NotAllowed):
    """No credentials, or none that are valid, where credentials would help (HTTP 401)."""

    default_rule = "not-authenticated"


class AlreadyExists(CallerError):
    """The name is taken by other bytes, now or in the past."""

    default_rule = "already-exists"


class NotFound(CallerError):
    """No such project, release, file, user or token."""

    default_rule = "not-found"


class TooLarge(CallerError):
    """A declared limit was exceeded."""

    default_rule = "too-large"


class TooMany(CallerError):
    """A rate limit was exceeded."""

    default_rule = "too-many"


class TooSlow(CallerError):
    """A request came in below the declared minimal rate, or took too long."""

    default_rule = "too-slow"


# --- the repository: something is not what was vouched for ----------------------------------------------------


class RepositoryError(AssayError):
    """The index, or somebody between it and us, served something that must not be trusted."""

    default_rule = "verification"


class VerificationFailed(RepositoryError):
    """Bytes, signatures or structure are not what trusted metadata vouches for (exit code 10)."""

    default_rule = "verification"
    reading = Reading.ATTACK


class WitnessRefused(VerificationFailed):
    """A witness does not co-sign a publication: it contradicts what the witness co-signed before."""

    default_rule = "witness-refused"


class NotFresh(RepositoryError):
    """Expired, rolled back, frozen, or the clock is wrong (exit code 11)."""

    default_rule = "freshness"


class RefusedByPolicy(RepositoryError):
    """Sound, but the user's policy does not allow it (exit code 12)."""

    default_rule = "policy"
    reading = Reading.MISCONFIGURATION


class NotTrusted(RepositoryError):
    """No trust root is known for this index yet (exit code 14)."""

    default_rule = "not-trusted"
    reading = Reading.MISCONFIGURATION


# --- upstream and the network ---------------------------------------------------------------------------------


class Unreachable(AssayError):
    """A host did not answer, or not in time (exit code 13)."""

    default_rule = "unreachable"


class UpstreamError(AssayError):
    """The upstream index answered with something that cannot be used."""

    default_rule = "upstream"


class UpstreamChanged(UpstreamError):
    """The upstream shows other bytes under a name that was seen before (first seen wins)."""

    default_rule = "upstream-changed"
    reading = Reading.ATTACK


# --- the operator: this machine or its configuration ----------------------------------------------------------


class OperatorError(AssayError):
    """The machine, the data folder, the keys or the configuration need the operator's hand."""

    default_rule = "operator"
    reading = Reading.MISCONFIGURATION


class KeyUnavailable(OperatorError):
    """A private key is missing, locked, or kept where it must not be."""

    default_rule = "key-unavailable"


class StorageUnavailable(OperatorError):
    """Disk full, I/O error, or the store does not answer."""

    default_rule = "storage"


class SignerRefused(OperatorError):
    """The signer will not sign this: it contradicts what was published, or was never admitted."""

    default_rule = "signer-refused"
    reading = Reading.ATTACK


class Fenced(OperatorError):
    """Another signer took over (its epoch is newer); this one must stop."""

    default_rule = "fenced"
