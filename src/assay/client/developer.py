"""What a developer does for a claimed project: find what must be signed, sign it, send it.

The role is always built from what trusted metadata says, never from what the index's pages say by themselves.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import orjson
from securesystemslib.signer import Key, Signer
from tuf.api.metadata import TargetFile, Targets

from assay.client.trusted_index import TrustedIndex
from assay.keys.custody import sign_bytes
from assay.model.distributions import Distribution, parse_distribution
from assay.model.errors import CallerError, NotFresh, VerificationFailed
from assay.model.names import ProjectName
from assay.trust import canonical
from assay.trust.claims import Claim, plan_claim_role, require_claim_signed, stated_claim
from assay.trust.envelope import assemble, parse_envelope
from assay.trust.layout import SEAL_PREFIX, TARGETS, TargetPath, file_target

CLAIM_LIFE = timedelta(days=365)
"""A claim's role is signed again by every publication; without one for so long, unsealed files stop installing."""


@dataclass(frozen=True, slots=True)
class ClaimWork:
    """A project's claim as a developer goes on from it.

    ``authority``: whose signatures count now (None: nobody claimed it); ``wanted``: whose shall count; ``version``: of
    the newest role; ``files``: what it lists, less what was sealed since.
    """

    authority: Claim | None
    wanted: Claim | None
    version: int
    files: Mapping[TargetPath, TargetFile]

    def signing_keys(self) -> list[Key]:
        """Every key that may have to sign."""
        claims = [claim for claim in (self.authority, self.wanted) if claim is not None]
        return list({key.keyid: key for claim in claims for key in claim.keys}.values())


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A distribution on this machine that is to be published; ``size`` in bytes."""

    path: Path
    distribution: Distribution
    size: int
    sha256: str


async def read_work(index: TrustedIndex, project: ProjectName) -> ClaimWork:
    """Where ``project`` stands now. For a first claim ``files`` are all that it has and that no seal has."""
    found, newest = await index.claim(project)
    page = await index.page(project)
    if found is not None:
        removed = {file.filename for file in page.page.removed} if page else set[str]()
        listed = {TargetPath(name): file for name, file in found.role.targets.items()}
        kept = {path: file for path, file in listed.items() if path.rpartition("/")[2] not in removed}
        kept = {path: file for path, file in kept.items() if not await _is_sealed(index, path)}
        return ClaimWork(found.claim, stated_claim(found.role), newest, kept)
    files = {}
    for entry in page.page.files if page else ():
        path = file_target(parse_distribution(entry.filename, project))
        if path in await index.taken_down():
            continue
        target = await index.target(path)
        if target.sha256 != entry.sha256:
            raise VerificationFailed("page and target disagree about this file", subject=path, rule="page-target")
        if not target.role.startswith(SEAL_PREFIX):
            extra = {"custom": dict(target.custom)} if target.custom else {}
            files[path] = TargetFile(target.length, {"sha256": target.sha256}, path, extra)
    return ClaimWork(None, None, newest, files)


async def _is_sealed(index: TrustedIndex, path: TargetPath) -> bool:
    try:
        return (await index.target(path)).role.startswith(SEAL_PREFIX)
    except (NotFresh, VerificationFailed):
        return False  # the role itself has expired, or the file was taken down: it stays listed


def read_files(paths: Sequence[Path]) -> list[LocalFile]:
    """The distributions at ``paths``, which are of one project. Raises CallerError, InvalidName."""
    found = []
    for path in paths:
        distribution = parse_distribution(path.name)
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            found.append(LocalFile(path, distribution, stream.tell(), digest))
    projects = {file.distribution.project for file in found}
    if len(projects) != 1:
        raise CallerError("files of one project at a time", found=", ".join(sorted(projects)) or "no file")
    return sorted(found, key=lambda file: file.path.name)


def with_file(work: ClaimWork, file: LocalFile, signer: Signer, now: datetime) -> ClaimWork:
    """``work`` with ``file`` listed. Raises CallerError when its name is signed for other bytes."""
    path = file_target(file.distribution)
    old = work.files.get(path)
    if old is not None and (old.hashes.get("sha256"), old.length) != (file.sha256, file.size):
        raise CallerError(
            "this filename is signed for other bytes",
            subject=path,
            rule="second-hash",
            expected=f"sha256 {old.hashes.get('sha256')}",
            found=f"sha256 {file.sha256}",
            next_step="release a new version: one name has one hash, for ever",
        )
    custom = {"origin": "claim", "key": signer.public_key.keyid, "signed_at": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
    target = old or TargetFile(file.size, {"sha256": file.sha256}, path, {"custom": custom})
    return replace(work, files={**work.files, path: target})


def sign_work(work: ClaimWork, signers: Sequence[Signer], now: datetime) -> bytes:
    """The next version of the role, signed by ``signers``; the file may still lack signatures of others."""
    if work.wanted is None:
        raise CallerError("nobody is named to sign", rule="claim-keys")
    role = plan_claim_role(work.wanted, work.version + 1, work.files, now.replace(microsecond=0) + CLAIM_LIFE)
    document = role.to_dict()
    payload = canonical.encode(document)
    return assemble(document, [sign_bytes(signer, payload) for signer in signers])


def cosign_work(data: bytes, signers: Sequence[Signer], role: str) -> bytes:
    """``data``, a signed role, with the signatures of ``signers`` added."""
    envelope = parse_envelope(data, Targets, role)
    added = {signer.public_key.keyid: sign_bytes(signer, envelope.payload) for signer in signers}
    return assemble(orjson.loads(data)["signed"], list({**envelope.signatures, **added}.values()))


def lacks_signatures(work: ClaimWork, data: bytes, project: ProjectName) -> bool:
    """Whether others must sign ``data`` before the index takes it."""
    envelope = parse_envelope(data, Targets, TARGETS)
    try:
        require_claim_signed(envelope, project, work.authority)
    except VerificationFailed as error:
        if error.rule != "signature-threshold":
            raise
        return True
    return False
