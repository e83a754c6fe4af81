"""``poetry.lock``: versions 1 (files in ``[metadata.files]``) and 2 (files in each package)."""

from collections.abc import Iterator, Mapping
from typing import Any

from assay.client.lock.entries import Locked, LockText, name_of, pinned, read_toml, tables, text_of


def read_poetry_lock(lock: LockText) -> Iterator[Locked]:
    """Every file's hash. Raises CallerError."""
    document = read_toml(lock)
    metadata = document.get("metadata")
    older = metadata.get("files") if isinstance(metadata, dict) else None
    for package in tables(lock, document, "package"):
        name = name_of(lock, package)
        source = package.get("source")
        if isinstance(source, dict) and source.get("type") not in (None, "legacy"):
            described = f"{source.get('type')} {source.get('url')}"
            yield Locked(lock.line_of_package(name), name, elsewhere=described)
            continue
        files = package if "files" in package or not isinstance(older, dict) else {"files": older.get(name, [])}
        yield from pinned(lock, name, text_of(lock, package, "version"), list(_files(lock, files)))


def _files(lock: LockText, package: Mapping[str, Any]) -> Iterator[tuple[str | None, str | None]]:
    for file in tables(lock, package, "files"):
        yield text_of(lock, file, "file"), text_of(lock, file, "hash")
