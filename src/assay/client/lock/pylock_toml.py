"""``pylock.toml`` (PEP 751): packages with wheels and an sdist, an archive, a VCS checkout or a directory."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from assay.client.lock.entries import Locked, LockText, filename_of, name_of, pinned, read_toml, tables, text_of

_ELSEWHERE: Final = ("vcs", "archive", "directory")


def read_pylock(lock: LockText) -> Iterator[Locked]:
    """Every hash of every file. Raises CallerError."""
    document = read_toml(lock)
    if not str(document.get("lock-version", "")).startswith("1."):
        raise lock.refused("not a pylock.toml of version 1")
    for package in tables(lock, document, "packages"):
        name = name_of(lock, package)
        elsewhere = next((kind for kind in _ELSEWHERE if kind in package), None)
        if elsewhere is not None:
            source = package[elsewhere]
            place = (source.get("url") or source.get("path")) if isinstance(source, dict) else None
            if elsewhere == "vcs" and isinstance(source, dict):
                place = f"{source.get('type')}+{place}@{source.get('commit-id')}"
            yield Locked(lock.line_of_package(name), name, elsewhere=f"{elsewhere} {place}")
        else:
            yield from pinned(lock, name, text_of(lock, package, "version"), list(_files(lock, package)))


def read_identities(lock: LockText) -> Iterator[tuple[Locked, list[Mapping[str, Any]]]]:
    """Each package with the attestation identities that it names; none where it names none. Raises CallerError."""
    for package in tables(lock, read_toml(lock), "packages"):
        identities = list(tables(lock, package, "attestation-identities"))
        if identities:
            name = name_of(lock, package)
            yield Locked(lock.line_of_package(name), name, text_of(lock, package, "version")), identities


def _files(lock: LockText, package: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    sdist = [package["sdist"]] if isinstance(package.get("sdist"), dict) else []
    for file in (*tables(lock, package, "wheels"), *sdist):
        place = text_of(lock, file, "name") or text_of(lock, file, "url") or text_of(lock, file, "path") or ""
        hashes = file.get("hashes")
        known = hashes if isinstance(hashes, dict) else {}
        for algorithm in ["sha256"] if "sha256" in known else list(known) or [None]:
            yield filename_of(place), f"{algorithm}:{known[algorithm]}" if algorithm else None
