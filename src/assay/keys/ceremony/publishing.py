"""Handing a complete ceremony to the index: a first one is published, a later one is put where the signer takes it.

Invariants: only a ``VerifiedBundle`` is handed over, and only to the index whose newest root it starts from; a
rehearsal goes to a rehearsal's data folder only; no ceremony goes to a host that still has offline keys; publishing the
same again changes nothing. A later root is not shown to clients before the signer has signed with the keys it names
(``inbox/``), or every client would refuse the old timestamp in between.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from assay import durable
from assay.keys.ceremony.assembling import VerifiedBundle
from assay.keys.local import KeyFolder
from assay.model.digests import sha256_of
from assay.model.errors import AlreadyExists, KeyUnavailable, Reading, VerificationFailed
from assay.trust.layout import BINS, OFFLINE_ROLES, ROOT, TARGETS

REHEARSAL_MARKER: Final = "REHEARSAL"
METADATA: Final = "published/tuf"
INBOX: Final = "inbox"
NEW_IDENTITY: Final = "new-identity"
"""In the inbox: the SHA-256 of a root that takes the place of one that cannot vouch for it (re-root)."""
_ORDER: Final = (BINS, TARGETS, ROOT)
"""What is named by something else is there before it is named."""
_FILE = re.compile(r"\A([1-9][0-9]{0,9})\.([a-z]+)\.json\Z")


@dataclass(frozen=True, slots=True)
class Handover:
    """Which files were written, below the data folder, in order; ``waits``: the signer must take them first."""

    files: tuple[str, ...]
    waits: bool


def publish_offline(bundle: VerifiedBundle, data: Path) -> Handover:
    """Hand ``bundle`` to the index whose data folder is ``data``.

    Raises VerificationFailed when the bundle does not start from what that index has published, KeyUnavailable when
    offline keys lie there, AlreadyExists when other metadata of the same version was handed over before.
    """
    refuse_offline_keys(data)
    _require_same_purpose(bundle, data)
    newest = newest_root(data / METADATA)
    first = newest is None
    if newest is not None and not _is_published(bundle, data):
        _require_start(bundle, newest)
        _require_next_versions(bundle, data / METADATA)
    folder = METADATA if first or _is_published(bundle, data) else INBOX
    written = []
    for role in (role for role in _ORDER if role in bundle.files):
        name = f"{folder}/{bundle.versions[role]}.{role}.json"
        _write_once(data / name, bundle.files[role])
        written.append(name)
    if folder == INBOX and bundle.plan.replaces is not None:
        _write_once(data / INBOX / NEW_IDENTITY, f"{bundle.root_sha256}\n".encode())
    return Handover(tuple(written), waits=folder == INBOX)


def newest_root(metadata: Path) -> bytes | None:
    """The published root with the highest version, or None."""
    versions = _versions_of(metadata, ROOT)
    return (metadata / f"{max(versions)}.{ROOT}.json").read_bytes() if versions else None


def refuse_offline_keys(data: Path) -> None:
    """Raise KeyUnavailable while keys of offline roles lie in an index's data folder."""
    folder = KeyFolder(data / "keys")
    for role in OFFLINE_ROLES:
        path = folder.path(role)
        if path.exists():
            raise KeyUnavailable(
                "the private key of an offline role lies on the index's machine",
                subject=str(path),
                rule="offline-key-on-index",
                next_step="move the folder to offline media; whoever takes this machine would have the key otherwise",
            )


def refuse_data_folder(path: Path) -> None:
    """Raise KeyUnavailable when ``path``, where an offline key would be, lies in an index's data folder."""
    for folder in path.absolute().parents:
        if (folder / METADATA).is_dir() or (folder / "ledger" / "ledger.db").exists():
            raise KeyUnavailable(
                "an offline key may not lie in the data folder of an index",
                subject=str(path),
                rule="offline-key-on-index",
                next_step="keep it on a token, or on a machine that is not the index",
            )


def _require_same_purpose(bundle: VerifiedBundle, data: Path) -> None:
    practice = (data / REHEARSAL_MARKER).exists()
    if bundle.plan.rehearsal and not practice:
        raise VerificationFailed(
            "this was a rehearsal: its keys are worth nothing and production refuses them",
            rule="rehearsal-key",
            subject=str(data),
            next_step="hold the ceremony with the production plan",
        )
    if practice and not bundle.plan.rehearsal:
        raise VerificationFailed("this data folder is a rehearsal's", rule="rehearsal-key", subject=str(data))


def _is_published(bundle: VerifiedBundle, data: Path) -> bool:
    """The very files are published already: this is the same command once more."""
    paths = {role: data / METADATA / f"{bundle.versions[role]}.{role}.json" for role in bundle.files}
    return all(path.exists() and path.read_bytes() == bundle.files[role] for role, path in paths.items())


def _require_start(bundle: VerifiedBundle, newest: bytes) -> None:
    start = bundle.plan.starts_from
    expected = start.root_sha256 if start else "no root at all"
    if start is None or sha256_of(newest) != start.root_sha256:
        raise VerificationFailed(
            "the ceremony does not start from this index's newest root: it is old, replayed, or another index's",
            rule="plan-start",
            subject=ROOT,
            expected=f"sha256 {expected}",
            found=f"sha256 {sha256_of(newest)}",
        )


def _require_next_versions(bundle: VerifiedBundle, metadata: Path) -> None:
    """Nothing else was published since the ceremony began: a takedown or a seal would be undone without a word."""
    for role, version in bundle.versions.items():
        newest = max(_versions_of(metadata, role), default=0)
        if newest != version - 1:
            raise VerificationFailed(
                "this role was published by somebody else since the ceremony began",
                rule="plan-start",
                subject=role,
                expected=f"version {version - 1} published",
                found=f"version {newest}",
                next_step="make a new plan from the current metadata; list this one in its `supersedes`",
                reading=Reading.MISCONFIGURATION,
            )


def _versions_of(metadata: Path, role: str) -> list[int]:
    names = [path.name for path in metadata.iterdir()] if metadata.is_dir() else []
    return [int(match[1]) for name in names if (match := _FILE.match(name)) and match[2] == role]


def _write_once(path: Path, data: bytes) -> None:
    if path.exists():
        if path.read_bytes() != data:
            raise AlreadyExists("other metadata of this version was handed over before", subject=str(path))
        return
    durable.write_file(path, data)
