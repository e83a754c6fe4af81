"""Who is expected to sign a project's files, and what lies beside a file: what the project's signed page says of both.

Invariants: these are statements of signed metadata, never of what accompanies a signature; an entry is never removed,
it ends (``Term``), so that what was signed while it was in force can still be told from what was not.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from assay.model.digests import Sha256

PublisherMembers = tuple[tuple[str, str], ...]
"""A publisher as sorted members and texts; ``provenance.publishers`` gives them their meaning."""


@dataclass(frozen=True, slots=True)
class Term:
    """From when until when somebody is expected to sign; ``until`` None: still. Times in UTC.

    ``distrusted``: nothing of theirs counts, whenever it came (a stolen key). ``optional``: a file without their
    signature is accepted; one with it must verify all the same.
    """

    since: datetime
    until: datetime | None = None
    distrusted: bool = False
    optional: bool = False

    def holds(self, moment: datetime) -> bool:
        """Whether what came at ``moment`` came in this term."""
        return not self.distrusted and self.since <= moment and (self.until is None or moment < self.until)

    def end(self, moment: datetime, *, distrusted: bool) -> "Term":
        """This term, ended at ``moment`` unless it ended before. Distrust is never taken back."""
        ended = moment if self.until is None else self.until
        return replace(self, until=ended, distrusted=self.distrusted or distrusted)


@dataclass(frozen=True, slots=True)
class RegisteredCertificate:
    """An OpenPGP certificate: the ``fingerprint`` of its primary key, and the SHA-256 of its bytes as they are now."""

    fingerprint: str
    sha256: Sha256
    term: Term


@dataclass(frozen=True, slots=True)
class RegisteredPublisher:
    """A publisher of attestations. ``root``: SHA-256 of the trust root they verify with, None for Sigstore's own.

    ``first_seen``: nobody registered it; it attested the first file of an upstream project that was met here.
    """

    members: PublisherMembers
    root: Sha256 | None
    term: Term
    first_seen: bool = False


@dataclass(frozen=True, slots=True)
class Signers:
    """Everybody who ever was expected to sign a project's files."""

    certificates: tuple[RegisteredCertificate, ...] = ()
    publishers: tuple[RegisteredPublisher, ...] = ()

    def demand_signature(self, uploaded: datetime) -> bool:
        """Whether a file that was uploaded at ``uploaded`` must have an OpenPGP signature."""
        return any(_demands(each.term, uploaded) for each in self.certificates)

    def demand_attestation(self, uploaded: datetime) -> bool:
        """Whether a file that was uploaded at ``uploaded`` must have an attestation of a registered publisher."""
        return any(_demands(each.term, uploaded) for each in self.publishers if not each.first_seen)

    @property
    def has_chosen_publisher(self) -> bool:
        """Whether somebody registered a publisher that is still expected."""
        return any(not each.first_seen and each.term.until is None for each in self.publishers)

    def foretell_attestation(self, uploaded: datetime) -> bool:
        """Whether an earlier file of an upstream project was attested, so that one without is a loss."""
        return any(_demands(each.term, uploaded) for each in self.publishers if each.first_seen)


NO_SIGNERS: Final = Signers()


def _demands(term: Term, uploaded: datetime) -> bool:
    return term.holds(uploaded) and not term.optional


@dataclass(frozen=True, slots=True)
class Attached:
    """A signature or provenance object beside a file, pinned by its ``sha256``.

    ``since``: when the index took it in (UTC). ``by``: who signed, as the index verified it then, for people to read.
    """

    sha256: Sha256
    since: datetime
    by: tuple[str, ...]
