"""A backup brought back into an empty folder, verified, and frozen until somebody says what was published after it."""

from pathlib import Path

import orjson

from assay import durable
from assay.index.config import DataFolder
from assay.index.ledger import Ledger, repair
from assay.index.ledger.publications import last_time, read_head
from assay.index.log import LogWriter, no_log_key
from assay.index.published import PublishedStore
from assay.index.recovery.freeze import restored_mark
from assay.index.signer.head import show_head
from assay.index.signer.state import PublishedState
from assay.index.upkeep.backup import FOLDERS, Manifest, copy_whole, is_plain, read_manifest, sha256_of_file
from assay.model.errors import OperatorError, VerificationFailed
from assay.trust.layout import TargetPath, hashed_path
from assay.trust.lean import raw_targets


def bring_back(backup: Path, data: DataFolder) -> Manifest:
    """Copy the backup into the new folder of ``data``, verify it, and freeze it. Goes on after an interruption.

    Raises OperatorError when the folder holds an index, VerificationFailed when the backup is not what was published.
    """
    manifest = read_manifest(backup)
    mark = restored_mark(data)
    if data.root.exists() and any(data.root.iterdir()) and not mark.exists():
        raise OperatorError("there is something in this folder", subject=str(data.root), rule="restore-into-empty")
    durable.write_file(mark, orjson.dumps({"publication": manifest.publication}))
    if sha256_of_file(backup / manifest.ledger) != manifest.ledger_sha256:
        raise VerificationFailed("the backup's ledger was changed", subject=manifest.ledger, rule="backup-ledger")
    data.make()
    for name in (*FOLDERS, "keys"):
        for source in (backup / name).rglob("*"):
            wanted = data.root / source.relative_to(backup)
            if is_plain(source) and not (wanted.exists() and wanted.stat().st_size == source.stat().st_size):
                copy_whole(source, wanted)
    if (backup / "config.toml").exists():
        copy_whole(backup / "config.toml", data.config_file)
    copy_whole(backup / manifest.ledger, data.ledger_file)
    _show(data)
    durable.sync_filesystem(data.root)
    return manifest


def _show(data: DataFolder) -> None:
    """Timestamp, checkpoint and page pointers as the ledger's head has them, everything verified."""
    published, ledger = PublishedStore(data.published), Ledger.open(data.ledger_file)
    try:
        with ledger.write() as connection:
            repair.forget_intent(connection)
            head, at = read_head(connection), last_time(connection)
        show_head(published, LogWriter(published, no_log_key), head)
    finally:
        ledger.close()
    point_pages(PublishedState.read(published, at), published)


def point_pages(state: PublishedState, published: PublishedStore) -> None:
    """Make every page pointer the page that is vouched for. Raises VerificationFailed for one that is lost."""
    for role in state.succinct().get_roles():
        found = state.bin(role, keep=False)
        for path, target in (raw_targets(found) if found is not None else {}).items():
            if path.startswith("simple/"):
                page = hashed_path(TargetPath(path), target["hashes"]["sha256"])
                if not published.path(page).exists():
                    raise VerificationFailed("a page of the backup is gone", subject=page, rule="page-hash")
                published.point_later(path, page)
    published.sync()
