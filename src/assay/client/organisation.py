"""The organisation's policy: a release of the reserved project ``assay-policy`` on its index (docs/adr/0096).

It is an ordinary signed target, so it can be sealed and claimed like any other: then not even whoever breaks into the
index can change it. Invariants: the newest version counts, yanked or not; what was seen once never becomes older or
vanishes; only what was uploaded here counts, never an upstream's project of that name.
"""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from assay import durable
from assay.client.policies import ORGANISATION
from assay.client.trusted_index import TrustedIndex
from assay.formats.organisation_policy import read_member
from assay.formats.pages import ProjectPage
from assay.model.distributions import Distribution, DistributionKind, parse_distribution
from assay.model.errors import NotFresh, VerificationFailed
from assay.model.names import POLICY_PROJECT
from assay.policy.model import Layer
from assay.policy.parse import POLICY_FILENAME, parse_layer

_MEMORY: Final = "organisation-policy.json"


async def organisation_layer(index: TrustedIndex, folder: Path, notice: Callable[[str], None]) -> Layer | None:
    """The newest policy that the index vouches for, None where it never had one.

    ``folder`` remembers the newest that was seen; ``notice`` is told when there is a newer one. Raises NotFresh when it
    vanished or became older, VerificationFailed, and CallerError for one that cannot be read.
    """
    seen = _remembered(folder)
    found, layer = await current_policy(index)
    if found < seen:
        raise NotFresh(
            "the organisation's policy went back",
            rule="policy-rollback",
            subject=index.url,
            expected=f"version {seen} of {POLICY_PROJECT} or a newer one",
            found=f"version {found}" if found else "none",
            next_step="ask the index's operator; to loosen a policy, a newer version is published",
        )
    if found > seen:
        durable.write_file(folder / _MEMORY, json.dumps({"version": found}).encode())
        if seen:
            notice(f"the organisation's policy changed from version {seen} to {found}: assay policy explain")
    return layer


async def current_policy(index: TrustedIndex) -> tuple[int, Layer | None]:
    """The newest policy that the index vouches for, with its version from 1; 0 where it has none. Raises as above."""
    page = await index.page(POLICY_PROJECT)
    newest = _newest(page.page) if page is not None else None
    if newest is None:
        return 0, None
    file = await index.file(newest)
    source = f"{index.url}{POLICY_PROJECT} {newest.version}"
    try:
        with zipfile.ZipFile(file.path) as archive:
            text = read_member(archive, POLICY_FILENAME)
            return int(newest.version), parse_layer(text, ORGANISATION, source, lambda name: read_member(archive, name))
    except zipfile.BadZipFile as error:
        raise VerificationFailed("not a readable policy", subject=newest.filename, rule="wheel-unreadable") from error


def _newest(page: ProjectPage) -> Distribution | None:
    """The newest version with a plain number, of what was uploaded here."""
    if page.origin != "upload":
        return None
    wheels = [parse_distribution(file.filename, page.project) for file in page.files]
    numbered = [each for each in wheels if each.kind is DistributionKind.WHEEL and each.version.isdecimal()]
    return max(numbered, key=lambda each: int(each.version), default=None)


def _remembered(folder: Path) -> int:
    """The newest version that was seen here, 0 for none."""
    try:
        return int(json.loads((folder / _MEMORY).read_text(encoding="utf-8"))["version"])
    except FileNotFoundError:
        return 0
