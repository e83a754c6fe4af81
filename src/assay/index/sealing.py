"""The index's half of a sealing: what would be sealed, read from what the index signed and not from its database."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import orjson
from tuf.api.metadata import Targets

from assay.formats.manifest import manifest_path, render_manifest
from assay.formats.pages import PageFile, ProjectPage, version_of
from assay.index.claim_plan import claimed_versions
from assay.index.config import DataFolder, load_config
from assay.index.handover import read_published
from assay.index.published import PublishedStore
from assay.index.signer.claims import is_sealed, published_claims
from assay.index.signer.state import PublishedState
from assay.keys.offline_draft import OfflineDraft
from assay.keys.sealing import KIND, write_list
from assay.model.digests import parse_sha256, sha256_of
from assay.model.errors import CallerError
from assay.model.names import ProjectName, parse_project_name
from assay.model.releases import is_closed, release_of
from assay.trust.claim_search import all_delegating
from assay.trust.claims import custom_of
from assay.trust.envelope import parse_envelope
from assay.trust.layout import CLAIMED, ROOT, TARGETS, TargetPath, hashed_path
from assay.trust.seal import SealedFile, seals_of, seals_to_merge


@dataclass(frozen=True, slots=True)
class SealPlan:
    """What a sealing would seal. ``origins``: files by who vouches for them; ``closed``: releases with a manifest."""

    seal: str
    files: int
    projects: int
    closed: int
    merged: tuple[str, ...]
    origins: Mapping[str, int]


def plan_sealing(data: DataFolder, folder: Path, now: datetime) -> SealPlan:
    """Write a draft of the next sealing to ``folder``. Raises CallerError when nothing is new since the last one."""
    state, published = read_published(data), PublishedStore(data.published)
    new = list(_unsealed(state))
    close_after = load_config(data.config_file).uploads.close_after
    manifests = dict(_manifests(state, new, now, close_after))
    files = [*new, *(_manifest_target(path, body) for path, body in manifests.items())]
    if not files:
        raise CallerError("nothing was published since the last sealing", rule="seal-empty")
    seals = seals_of(state.targets())
    merged = seals_to_merge(seals)
    number = max((int(seal.removeprefix("seal-")) for seal in state.seals_ever()), default=0) + 1
    current = {ROOT: state.root, TARGETS: state.role_file(TARGETS)}
    current |= {role: state.role_file(role) for role in state.ask(all_delegating(state.trusted, CLAIMED))}
    current |= {found.claim.role: found.data for found in published_claims(state) if found.is_settled}
    for seal in merged:
        current |= {role: state.role_file(role) for role in state.roles_below(seal)}
    total = len(files) + _count(state, merged)
    facts = {"number": number, "merged": merged, "files": total, "claimed_versions": claimed_versions(state)}
    write_list(OfflineDraft.create(folder, KIND, current, facts, now), files)
    published.write({_manifest_name(path, body): body for path, body in manifests.items()})
    return SealPlan(
        seal=f"seal-{number}",
        files=len(files),
        projects=len({_project_of(file.path) for file in new}),
        closed=len(manifests),
        merged=tuple(merged),
        origins=Counter(str(file.custom.get("origin", "unknown")) for file in new),
    )


def _count(state: PublishedState, seals: Sequence[str]) -> int:
    """How many files the published ``seals`` have."""
    roles = [role for seal in seals for role in state.roles_below(seal)]
    return sum(len(parse_envelope(state.role_file(role), Targets, role).signed.targets) for role in roles)


def _unsealed(state: PublishedState) -> Iterator[SealedFile]:
    for name in state.succinct().get_roles():
        role = state.bin(name)
        for path, file in role.targets.items() if role else ():
            if path.startswith("packages/"):
                custom = file.unrecognized_fields.get("custom", {})
                yield SealedFile(TargetPath(path), file.length, parse_sha256(file.hashes["sha256"]), custom)
    for found in published_claims(state):
        for path, file in found.role.targets.items():
            if not is_sealed(state, TargetPath(path)):
                sha256 = parse_sha256(file.hashes["sha256"])
                yield SealedFile(TargetPath(path), file.length, sha256, custom_of(file))


def _manifests(
    state: PublishedState, new: list[SealedFile], now: datetime, close_after: timedelta
) -> Iterator[tuple[TargetPath, bytes]]:
    """The manifests of the releases that are closed and have none yet."""
    for project in sorted({_project_of(file.path) for file in new}):
        page = state.page(project)
        if page is None or page.origin != "upload":
            continue
        for release, files in _releases(page).items():
            path = TargetPath(manifest_path(project, release))
            first = min(file.upload_time for file in files)
            if is_closed(first, now, close_after) and state.target(path) is None:
                yield path, render_manifest(project, release, {file.filename: file.sha256 for file in files})


def _releases(page: ProjectPage) -> Mapping[str, list[PageFile]]:
    releases: dict[str, list[PageFile]] = defaultdict(list)
    for file in page.files:
        releases[release_of(version_of(page.project, file))].append(file)
    return releases


def _manifest_target(path: TargetPath, body: bytes) -> SealedFile:
    return SealedFile(path, len(body), sha256_of(body), {"files": orjson.loads(body)["files"]})


def _manifest_name(path: TargetPath, body: bytes) -> str:
    return hashed_path(path, sha256_of(body))


def _project_of(path: TargetPath) -> ProjectName:
    return parse_project_name(path.split("/")[1])
