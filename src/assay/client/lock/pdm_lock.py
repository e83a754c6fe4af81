"""``pdm.lock``: packages with their files, by name or (strategy ``static_urls``) by URL."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from assay.client.lock.entries import Locked, LockText, filename_of, name_of, pinned, read_toml, tables, text_of

_ELSEWHERE: Final = ("git", "hg", "svn", "bzr", "url", "path")


def read_pdm_lock(lock: LockText) -> Iterator[Locked]:
    """Every file's hash. One package may stand several times, with other extras. Raises CallerError."""
    for package in tables(lock, read_toml(lock), "package"):
        name = name_of(lock, package)
        elsewhere = next((f"{kind} {package[kind]}" for kind in _ELSEWHERE if kind in package), None)
        if elsewhere is not None:
            yield Locked(lock.line_of_package(name), name, elsewhere=elsewhere)
        else:
            yield from pinned(lock, name, text_of(lock, package, "version"), list(_files(lock, package)))


def _files(lock: LockText, package: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    for file in tables(lock, package, "files"):
        place = text_of(lock, file, "file") or text_of(lock, file, "url") or ""
        yield filename_of(place), text_of(lock, file, "hash")
