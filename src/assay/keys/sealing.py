"""The offline half of a sealing: a one-time key is made in memory, signs the seal, and is gone.

What is sealed is what the draft lists; files of merged seals are taken from those seals' signed roles, never from the
list.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Targets

from assay.keys.offline_draft import OfflineDraft
from assay.model.digests import parse_sha256
from assay.model.errors import CallerError
from assay.trust.layout import TARGETS, Lifetimes, TargetPath
from assay.trust.seal import SealedFile, plan_seal, with_seal

KIND: Final = "seal"
FILES: Final = "files.jsonl"


@dataclass(frozen=True, slots=True)
class Sealed:
    """What was sealed: how many files, in how many roles; the seal's name."""

    seal: str
    files: int
    roles: int


def sign_seal(
    draft: OfflineDraft, now: datetime, lifetimes: Lifetimes, progress: Callable[[int], None] = lambda _: None
) -> Sealed:
    """Sign the seal that ``draft`` plans, and put the new ``targets`` there for its holders to sign.

    ``progress`` is called with the number of roles signed so far. Raises VerificationFailed when the draft's current
    roles are not what its root vouches for, CallerError when it was sealed before.
    """
    plan = draft.plan(KIND)
    if draft.files():
        raise CallerError(
            "this draft was signed already; holders add their signature with cosign", subject=str(draft.folder)
        )
    targets = draft.current(TARGETS, draft.current_root())
    files = [*_listed(draft), *(file for seal in plan["merged"] for file in _of_seal(draft, seal, targets))]
    signer = CryptoSigner.generate_ed25519()
    count = 0
    for count, (role, body) in enumerate(plan_seal(plan["number"], files, signer.public_key, now, lifetimes), 1):
        draft.put(role, body, [signer])
        progress(count)
    expires = now + lifetimes.targets
    draft.put(TARGETS, with_seal(targets, plan["number"], signer.public_key, plan["merged"], expires), [])
    return Sealed(f"seal-{plan['number']}", len(files), count)


def _listed(draft: OfflineDraft) -> Iterator[SealedFile]:
    with (draft.folder / FILES).open("rb") as lines:
        for line in lines:
            yield decode_sealed(orjson.loads(line))


def _of_seal(draft: OfflineDraft, seal: str, targets: Targets) -> Iterator[SealedFile]:
    """Every file of an older seal, from its signed roles."""
    pending = [(seal, targets)]
    while pending:
        role, delegator = pending.pop()
        signed = draft.current(role, delegator)
        for path, file in signed.targets.items():
            custom = file.unrecognized_fields.get("custom", {})
            yield SealedFile(TargetPath(path), file.length, parse_sha256(file.hashes["sha256"]), custom)
        children = signed.delegations.roles if signed.delegations else None
        pending += [(child, signed) for child in children or {}]


def encode_sealed(file: SealedFile) -> dict[str, Any]:
    """One line of the draft's list."""
    return {"path": file.path, "length": file.length, "sha256": file.sha256, "custom": dict(file.custom)}


def decode_sealed(row: Mapping[str, Any]) -> SealedFile:
    """The inverse of ``encode_sealed``. Raises CallerError."""
    try:
        return SealedFile(TargetPath(row["path"]), int(row["length"]), parse_sha256(row["sha256"]), dict(row["custom"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CallerError(
            "a line of the draft's list cannot be read", found=f"{type(error).__name__}: {error}"
        ) from error
