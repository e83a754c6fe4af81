"""``Pipfile.lock``: JSON, sections of packages with hashes that do not say of which files they are."""

import json
from collections.abc import Iterator
from typing import Any

from assay.client.lock.entries import Locked, LockText

_ELSEWHERE = ("git", "hg", "svn", "bzr", "file", "path", "url")


def read_pipfile_lock(lock: LockText) -> Iterator[Locked]:
    """Every hash. Raises CallerError, also for a key that stands twice: readers differ on which one counts."""
    try:
        document = json.loads(lock.text, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise lock.refused(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise lock.refused("not a JSON object")
    for section, packages in document.items():
        if section == "_meta":
            continue
        if not isinstance(packages, dict) or not all(isinstance(one, dict) for one in packages.values()):
            raise lock.refused(f"section {section!r} is not packages by name", lock.line_of(f'"{section}"'))
        for name, package in packages.items():
            yield from _package(lock, name, package)


def _package(lock: LockText, name: str, package: dict[str, Any]) -> Iterator[Locked]:
    line = lock.line_of(f'"{name}": {{')
    elsewhere = next((f"{kind} {package[kind]}" for kind in _ELSEWHERE if kind in package), None)
    if elsewhere is not None:
        yield Locked(line, name, elsewhere=elsewhere)
        return
    version, hashes = package.get("version"), package.get("hashes", [])
    if not isinstance(hashes, list) or not isinstance(version, str | None):
        raise lock.refused(f"{name!r} has malformed hashes or a malformed version", line)
    exact = version.lstrip("=") if version is not None and version.startswith("==") else None
    if not hashes:
        yield Locked(line, name, exact)
    for digest in map(str, hashes):
        yield Locked(lock.line_of_digest(digest, f'"{name}": {{'), name, exact, digest=digest)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found
