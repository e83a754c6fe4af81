"""Real attestations of published files, recorded once: the test assets of the public project
trailofbits/pypi-attestations (Apache-2.0, ``test/assets``), kept beside the repository, which has no copy of them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assay.model.digests import Sha256, sha256_of
from assay.provenance.publishers import GitHubPublisher, GitLabPublisher, OidcPublisher, Publisher

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "attestations"
NOW = datetime(2025, 6, 1, tzinfo=UTC)


class MissingDataError(RuntimeError):
    """The recorded attestations are not where the tests expect them."""


def read(name: str) -> bytes:
    path = FOLDER / name
    if not path.is_file():
        raise MissingDataError(f"these tests need {name} of trailofbits/pypi-attestations (test/assets) in {FOLDER}")
    return path.read_bytes()


@dataclass(frozen=True)
class Sample:
    """A file, one of its attestations, and who made it."""

    filename: str
    kind: str
    publisher: Publisher

    @property
    def sha256(self) -> Sha256:
        return sha256_of(read(self.filename))

    @property
    def attestation(self) -> bytes:
        return read(f"{self.filename}.{self.kind}.attestation")


GITHUB = Sample(
    "pypi_attestations-0.0.19.tar.gz", "publish", GitHubPublisher("trailofbits/pypi-attestations", "release.yml")
)
SLSA = Sample("pypi_attestations-0.0.19.tar.gz", "slsa", GITHUB.publisher)
GITLAB = Sample("gitlab_oidc_project-0.0.3.tar.gz", "publish", GitLabPublisher("facutuesca/gitlab-oidc-project"))
STAGING = Sample(
    "rfc8785-0.1.2-py3-none-any.whl",
    "publish",
    OidcPublisher("https://github.com/login/oauth", "william@yossarian.net"),
)


def edited(data: bytes, edit: Callable[[dict[str, Any]], None]) -> bytes:
    """The attestation after ``edit`` changed its JSON."""
    document = json.loads(data)
    edit(document)
    return json.dumps(document).encode()


def log_entry(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["verification_material"]["transparency_entries"][0]
    return found
