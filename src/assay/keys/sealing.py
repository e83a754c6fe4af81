"""The offline half of a sealing: a one-time key is made in memory, signs the seal, and is gone.

What is sealed is what the draft lists; files of merged seals are taken from those seals' signed roles, never from the
list, and a file of a settled claim counts only if its developers signed it. The second holder's machine works
everything out again and compares: it trusts the first one for one thing alone, that the key is gone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any, Final

import orjson
from securesystemslib.signer import CryptoSigner, Key
from tuf.api.metadata import Targets

from assay.keys.claiming import SettledFiles, renewed_claims
from assay.keys.offline_draft import CLOCK_TOLERANCE, OfflineDraft
from assay.keys.spool import Spool
from assay.model.digests import parse_sha256
from assay.model.errors import CallerError, VerificationFailed
from assay.trust.layout import TARGETS, Lifetimes, TargetPath
from assay.trust.seal import GROUP_BITS, SealedFile, plan_seal, seal_bits, seal_group, with_seal

KIND: Final = "seal"
FILES: Final = "files.jsonl"
PROGRESS_EVERY: Final = 10_000
Progress = Callable[[int, int], None]
"""Called with how much is done, and how much there is."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """What was sealed: how many files, in how many roles; the seal's name. ``bodies``: what the holders sign."""

    seal: str
    files: int
    roles: int
    bodies: Mapping[str, Targets] = field(repr=False)


def sign_seal(
    draft: OfflineDraft, now: datetime, lifetimes: Lifetimes, progress: Progress = lambda _done, _total: None
) -> Sealed:
    """Sign the seal that ``draft`` plans with a key that is gone on return; the holders' roles are to be signed next.

    Raises VerificationFailed when the draft's current roles are not what its root vouches for, CallerError when it was
    sealed before, NotFresh for an old draft.
    """
    draft.made(KIND, now)
    if draft.files():
        raise CallerError(
            "this draft was signed already; holders add their signature with cosign", subject=str(draft.folder)
        )
    signer = CryptoSigner.generate_ed25519()
    moment = now.replace(microsecond=0)
    put = lambda role, body: draft.put(role, body, [signer])  # noqa: E731
    return _each_role(draft, signer.public_key, moment, moment + lifetimes.targets, lifetimes, put, progress)


def read_seal(
    draft: OfflineDraft, now: datetime, lifetimes: Lifetimes, progress: Progress = lambda _done, _total: None
) -> Sealed:
    """What a further holder is asked to sign: the seal that another one made, compared with the draft file by file.

    Raises VerificationFailed for anything that does not follow from the draft, or that no other holder signed.
    """
    draft.made(KIND, now)
    root, signed = draft.current_root(), draft.signed(TARGETS)
    result = root.get_verification_result(TARGETS, signed.payload, signed.signatures)
    if not result.signed:
        raise VerificationFailed(
            "no holder signed this seal: whoever made its key may still have it",
            subject=str(draft.folder),
            rule="draft-unsigned",
            next_step="the first holder runs `assay seal sign` on a machine of their own",
        )
    expires = signed.signed.expires
    if not now < expires <= now + lifetimes.targets + CLOCK_TOLERANCE:
        raise VerificationFailed(
            "the seal's targets role would live for another time than it may",
            subject=TARGETS,
            rule="draft-swapped",
            expected=f"until {now + lifetimes.targets:%Y-%m-%d} at most",
            found=f"{expires:%Y-%m-%d}",
        )
    delegations = signed.signed.delegations
    named = (delegations.roles or {}).get(f"seal-{draft.plan(KIND)['number']}") if delegations else None
    if delegations is None or named is None or len(named.keyids) != 1:
        raise VerificationFailed("the draft's targets role names no seal", subject=TARGETS, rule="draft-swapped")
    key = delegations.keys[named.keyids[0]]
    require = lambda role, body: draft.require_put(role, body, key)  # noqa: E731
    return _each_role(draft, key, expires - lifetimes.targets, expires, lifetimes, require, progress)


def _each_role(
    draft: OfflineDraft,
    key: Key,
    now: datetime,
    expires: datetime,
    lifetimes: Lifetimes,
    each: Callable[[str, Targets], None],
    progress: Progress,
) -> Sealed:
    """Work out every role of the seal and hand it to ``each``; group by group, so that memory holds one of them."""
    plan, targets = draft.plan(KIND), draft.current(TARGETS, draft.current_root())
    with Spool(draft.folder) as spool:
        total = 0
        for total, file in enumerate(_all_files(draft, plan, targets), 1):
            spool.add(seal_group(file.path), orjson.dumps(encode_sealed(file)))
            if total % PROGRESS_EVERY == 0:
                progress(total, 2 * int(plan["files"]))
        bits, roles, done = seal_bits(total), 0, total
        for role, body in plan_seal(plan["number"], bits, _grouped(spool, bits), key, now, lifetimes):
            each(role, body)
            roles, done = roles + 1, done + len(body.targets)
            progress(done, 2 * total)
    bodies, renewed = renewed_claims(draft, targets, plan["claimed_versions"], now, lifetimes)
    renewed.version = targets.version
    top = with_seal(renewed, plan["number"], key, plan["merged"], expires)
    return Sealed(f"seal-{plan['number']}", total, roles, {**bodies, TARGETS: top})


def _grouped(spool: Spool, bits: int) -> Iterator[Iterator[SealedFile]]:
    """The files by their leading bits, as many of them as the spool's groups tell apart."""
    each = 2 ** max(0, GROUP_BITS - bits)
    for first in range(0, 2**GROUP_BITS, each):
        lines = chain.from_iterable(spool.lines(group) for group in range(first, first + each))
        yield map(_decoded, lines)


def _all_files(draft: OfflineDraft, plan: Mapping[str, Any], targets: Targets) -> Iterator[SealedFile]:
    settled = SettledFiles.read(draft, targets)
    with (draft.folder / FILES).open("rb") as lines:
        for file in map(_decoded, lines):
            settled.require_signed(file.path, file.sha256, file.length)
            yield file
    for seal in plan["merged"]:
        yield from _of_seal(draft, seal, targets)


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


def write_list(draft: OfflineDraft, files: Iterable[SealedFile]) -> None:
    """Write the list of what the draft seals, beside what it merges."""
    with (draft.folder / FILES).open("xb") as out:
        for file in files:
            out.write(orjson.dumps(encode_sealed(file)) + b"\n")


def _decoded(line: bytes) -> SealedFile:
    return decode_sealed(orjson.loads(line))


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
