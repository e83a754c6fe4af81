"""Who vouches for a file, since when and with which authority: as values, and as a person would tell it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from assay.client.provenance.telling import ToldEvidence, tell_evidence, tell_signers
from assay.client.trusted_index import TrustedIndex
from assay.client.witnessed import NOBODY, Witnessed
from assay.formats.pages import PageFile, version_of
from assay.model.distributions import parse_distribution
from assay.model.errors import NotFound
from assay.model.names import ProjectName
from assay.trust.claims import CLAIM_PREFIX
from assay.trust.layout import SEAL_PREFIX, file_target
from assay.trust.verify import VerifiedTarget

_DIFFERENCES: Final = (("also on", "added"), ("not on", "missing"))


@dataclass(frozen=True, slots=True)
class Explanation:
    """What trusted metadata says of a file: its page entry, its target, and how fresh that knowledge is.

    ``settled``: whether the offline holders signed the project's claim; None where its developers do not sign the file.
    ``evidence``: its signatures and attestations. ``witnessed``: who co-signed the online roles on the way to it.
    """

    project: ProjectName
    version: str
    entry: PageFile
    target: VerifiedTarget
    fresh_until: str
    root_version: int
    settled: bool | None = None
    evidence: tuple[ToldEvidence, ...] = ()
    witnessed: Witnessed = NOBODY


async def explain_release(
    index: TrustedIndex, project: ProjectName, version: str | None, filename: str | None
) -> Sequence[Explanation]:
    """One version's files (None: the newest), or one file, as they are vouched for. Raises NotFound."""
    page = await index.page(project)
    if page is None or not page.page.files:
        raise NotFound("the index has no such project", subject=project)
    files = page.page.files
    wanted = version or version_of(project, files[-1])
    chosen = [
        file for file in files if (file.filename == filename if filename else version_of(project, file) == wanted)
    ]
    if not chosen:
        raise NotFound("the index has no such release", subject=f"{project} {filename or wanted}")
    explanations = []
    for entry in chosen:
        distribution = parse_distribution(entry.filename, project)
        target = await index.target(file_target(distribution))
        fresh_until, root_version = index.freshness()
        claim = (await index.claim(project))[0] if target.role.startswith(CLAIM_PREFIX) else None
        settled = claim.is_settled if claim is not None else None
        kept = await index.kept(distribution) if entry.signature is not None else None
        evidence = await tell_signers(index.provenance_checks(), page.page, entry, kept)
        explanations.append(
            Explanation(
                project,
                distribution.version,
                entry,
                target,
                fresh_until,
                root_version,
                settled,
                evidence,
                await index.witnessed(target.role),
            )
        )
    return explanations


def tell(explanation: Explanation) -> str:
    """The chain of trust of one file as a person would tell it."""
    entry, custom = explanation.entry, explanation.target.custom
    lines = [
        f"{entry.filename}",
        f"  bytes      sha256 {explanation.target.sha256}, {explanation.target.length} bytes",
        f"  published  {_publisher(custom, entry)}",
        f"  vouched    by the role {explanation.target.role}, reached from root version {explanation.root_version}",
        *(line for told in explanation.evidence for line in tell_evidence(told)),
        f"  witnessed  {_witnesses(explanation.witnessed)}",
        f"  sealed     {_seal(explanation)}",
        f"  fresh      the index vouches for it until {explanation.fresh_until}",
    ]
    if isinstance(differs := custom.get("dependencies_differ"), dict):
        lines.append(f"  depends    {_difference(differs)}")
    if entry.yanked is not None:
        lines.append(f"  yanked     {entry.yanked or 'without a reason'}")
    return "\n".join(lines)


def _witnesses(found: Witnessed) -> str:
    if not found.needed:
        return "by nobody: what is neither sealed nor claimed, the index signs alone"
    signers = "; ".join(f"{name} ({', '.join(roles)})" for name, roles in found.by.items())
    if not signers:
        return f"by {found.needed} beside the index, whose keys carry no witness's name"
    return f"by {signers}: nothing that they saw can be rewritten without them"


def _seal(explanation: Explanation) -> str:
    role, settled = explanation.target.role, explanation.settled
    if role.startswith(SEAL_PREFIX):
        seal = "-".join(role.split("-")[:2])
        return f"in {seal}, by a key that was destroyed: nobody can change this file any more"
    if settled:
        return "not yet, but the project is claimed: only its developers' keys sign for it, the index's do not count"
    if settled is not None:
        return "not yet; the project's developers signed it, and the offline holders have not settled their claim yet"
    if explanation.witnessed.needed:
        return "not yet: until then the index could replace it only together with its witnesses"
    return "not yet: until then whoever holds the index's online keys could replace it"


def _difference(differs: Mapping[str, Any]) -> str:
    told = [f"{word} {'; '.join(map(str, names))}" for word, key in _DIFFERENCES if (names := differs.get(key))]
    return f"on something else than {differs.get('other')} of the same version: {', '.join(told)}"


def _publisher(custom: Mapping[str, Any], entry: PageFile) -> str:
    when = f"{entry.upload_time:%Y-%m-%d %H:%M} UTC"
    if custom.get("origin") == "upstream":
        return f"upstream on {when}; first seen here {custom.get('first_seen')}, and not changed since"
    if custom.get("origin") == "claim":
        return f"by the project's developers on {when}, signed with their own key {str(custom.get('key'))[:16]}"
    return (
        f"by {custom.get('uploader')} on {when}, who was {custom.get('role')} of the project "
        f"(granted by {custom.get('granted_by')} on {custom.get('granted_at')}), "
        f"authenticated with {custom.get('authenticated')}"
    )
