"""The provenance object of the Integrity API (PEP 740): what accompanies a file, read and written.

Invariants: a ``ClaimedPublisher`` is whatever the file says and is no ``Publisher``: it can be shown, never
expected. The index writes only attestations that it has verified: ``render_provenance`` takes evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from assay.model.errors import VerificationFailed
from assay.provenance.attestation_format import MAX_ATTESTATIONS, Attestation, read_attestation
from assay.provenance.attestations import VerifiedAttestation
from assay.provenance.publishers import Publisher, render_publisher
from assay.provenance.strict_json import JsonObject, load_json

MAX_PROVENANCE_BYTES: Final = 2_000_000
MAX_BUNDLES: Final = 8
_RULE: Final = "provenance-format"


@dataclass(frozen=True, slots=True)
class ClaimedPublisher:
    """The publisher that a provenance object names: a claim. ``kind`` and the other members, texts only."""

    kind: str
    members: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ClaimedBundle:
    """Attestations under one claimed publisher, none of them verified."""

    publisher: ClaimedPublisher
    attestations: tuple[Attestation, ...]


@dataclass(frozen=True, slots=True)
class Provenance:
    """A provenance object, read but not verified."""

    bundles: tuple[ClaimedBundle, ...]

    @property
    def attestations(self) -> tuple[Attestation, ...]:
        """All attestations, in order: each is to be verified against the publisher that policy expects."""
        return tuple(attestation for bundle in self.bundles for attestation in bundle.attestations)


def parse_provenance(data: bytes) -> Provenance:
    """Read a provenance object. Raises VerificationFailed: ``provenance-format``, or as ``parse_attestation`` does."""
    document = JsonObject.of(load_json(data, rule=_RULE, max_bytes=MAX_PROVENANCE_BYTES), rule=_RULE)
    document.only("version", "attestation_bundles")
    if document.number("version") != 1:
        raise VerificationFailed(
            "a provenance object of another version", rule=_RULE, expected="1", found=str(document.number("version"))
        )
    return Provenance(
        tuple(_parse_bundle(item) for item in document.objects("attestation_bundles", at_most=MAX_BUNDLES))
    )


def _parse_bundle(bundle: JsonObject) -> ClaimedBundle:
    bundle.only("publisher", "attestations")
    publisher = bundle.object("publisher")
    members = tuple(
        (name, value)
        for name, value in sorted(publisher.values.items())
        if name != "kind" and isinstance(value, str) and len(name) + len(value) < 1000
    )
    return ClaimedBundle(
        ClaimedPublisher(publisher.text("kind"), members),
        tuple(read_attestation(item) for item in bundle.objects("attestations", at_most=MAX_ATTESTATIONS)),
    )


def render_provenance(attestations: Sequence[VerifiedAttestation]) -> bytes:
    """The provenance object of one file, canonical: the same evidence gives the same bytes.

    One bundle per publisher. Raises VerificationFailed (``provenance-format``) without any attestation, or when
    they speak of different files.
    """
    if len({(attestation.filename, attestation.sha256) for attestation in attestations}) != 1:
        raise VerificationFailed("attestations of no file or of several files", rule=_RULE)
    bundles: dict[Publisher, list[VerifiedAttestation]] = {}
    for attestation in attestations:
        bundles.setdefault(attestation.publisher, []).append(attestation)
    document = {
        "version": 1,
        "attestation_bundles": [
            {
                "publisher": render_publisher(publisher),
                "attestations": [orjson.Fragment(attestation.document) for attestation in found],
            }
            for publisher, found in bundles.items()
        ],
    }
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
