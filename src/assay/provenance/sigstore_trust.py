"""Sigstore trust roots: the production root that sigstore-python brings along, or an organisation's own.

Invariants: a root is bytes, given by the caller or bundled; nothing is fetched and no cache in the user's home is
read (``Verifier.production(offline=True)`` would do that). Each log key, certificate log and authority counts only
for the time its root says, which sigstore-python does not check. Loading sigstore costs half a second, so it is
done at first use.
"""

import functools
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from assay.model.digests import Sha256, sha256_of
from assay.model.errors import OperatorError, VerificationFailed
from assay.provenance.strict_json import JsonObject, load_json

if TYPE_CHECKING:
    from sigstore.verify import Verifier

MAX_ROOT_BYTES: Final = 1_000_000
_RULE: Final = "sigstore-root"
_BUNDLED: Final = {
    "production": "https%3A%2F%2Ftuf-repo-cdn.sigstore.dev",
    "staging": "https%3A%2F%2Ftuf-repo-cdn.sigstage.dev",
}


@dataclass(frozen=True, slots=True)
class Window:
    """From when and until when a key of a root counts; ``end`` is None while it still does."""

    start: datetime
    end: datetime | None

    def holds(self, moment: datetime) -> bool:
        """Whether ``moment`` lies within."""
        return self.start <= moment and (self.end is None or moment <= self.end)


@dataclass(frozen=True, slots=True)
class SigstoreTrust:
    """A trusted root: ``name`` for people, ``root`` the JSON of ``trusted_root.json``."""

    name: str
    root: bytes = field(repr=False)

    @property
    def sha256(self) -> Sha256:
        """The root's digest: what a verification was made against."""
        return sha256_of(self.root)


@dataclass(frozen=True, slots=True)
class LoadedTrust:
    """A root made ready: sigstore's verifier, and windows by key id (logs) or by subject name in DER (authorities)."""

    verifier: "Verifier"
    logs: dict[bytes, Window]
    certificate_logs: dict[bytes, Window]
    authorities: tuple[tuple[bytes, Window], ...]


def bundled_trust(which: Literal["production", "staging"] = "production") -> SigstoreTrust:
    """The root that the installed sigstore brings along. Raises OperatorError (``provenance-not-installed``)."""
    from importlib.resources import files

    try:
        root = (files("sigstore._store") / _BUNDLED[which] / "trusted_root.json").read_bytes()
    except (ImportError, FileNotFoundError) as error:
        raise _not_installed() from error
    return SigstoreTrust(f"sigstore {which}", root)


def upstream_trust(root: bytes | None) -> SigstoreTrust:
    """The root that an upstream's attestations verify with: its own, or Sigstore's production root."""
    return bundled_trust() if root is None else SigstoreTrust("the upstream's own root", root)


def _not_installed() -> OperatorError:
    return OperatorError(
        "attestations cannot be checked: sigstore is not installed",
        rule="provenance-not-installed",
        next_step="pip install 'assay[provenance]'",
    )


def load_trust(trust: SigstoreTrust) -> LoadedTrust:
    """Make ``trust`` ready, once for each root. Raises VerificationFailed (``sigstore-root``) if it is malformed."""
    return _load(trust.root)


@functools.lru_cache(maxsize=8)
def _load(root: bytes) -> LoadedTrust:
    document = JsonObject.of(load_json(root, rule=_RULE, max_bytes=MAX_ROOT_BYTES), rule=_RULE)
    try:
        from cryptography import x509
        from sigstore.errors import Error as SigstoreError
        from sigstore.models import TrustedRoot
        from sigstore.verify import Verifier
        from sigstore_models.trustroot.v1 import TrustedRoot as RootModel
    except ImportError as error:
        raise _not_installed() from error
    try:
        verifier = Verifier(trusted_root=TrustedRoot(RootModel.from_json(root)))
        authorities = tuple(
            (x509.load_der_x509_certificate(_first_certificate(authority)).subject.public_bytes(), _window(authority))
            for authority in document.objects("certificateAuthorities", at_most=50)
        )
    except (SigstoreError, ValueError, TypeError) as error:
        raise VerificationFailed("not a sigstore trusted root", rule=_RULE, found=str(error)[:200]) from error
    return LoadedTrust(verifier, _log_windows(document, "tlogs"), _log_windows(document, "ctlogs"), authorities)


def _first_certificate(authority: JsonObject) -> bytes:
    return authority.object("certChain").objects("certificates", at_most=10)[0].base64("rawBytes")


def _log_windows(document: JsonObject, name: str) -> dict[bytes, Window]:
    return {
        log.object("logId").base64("keyId"): _window(log.object("publicKey"))
        for log in document.objects(name, at_most=50)
    }


def _window(holder: JsonObject) -> Window:
    valid = holder.object("validFor")
    end = valid.optional_text("end")
    return Window(_moment(valid.text("start")), None if end is None else _moment(end))


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise VerificationFailed("not a time", rule=_RULE, found=text[:80]) from error
    if moment.tzinfo is None:
        raise VerificationFailed("a time without its zone", rule=_RULE, found=text[:80])
    return moment
