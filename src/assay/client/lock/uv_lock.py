"""``uv.lock``: packages with their source, their sdist and their wheels."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from assay.client.lock.entries import Locked, LockText, filename_of, name_of, pinned, read_toml, tables, text_of

_OF_THE_PROJECT: Final = ("editable", "virtual", "directory")


def read_uv_lock(lock: LockText) -> Iterator[Locked]:
    """Every file's hash. Members of the workspace, below the lock file, are passed over. Raises CallerError."""
    for package in tables(lock, read_toml(lock), "package"):
        name = name_of(lock, package)
        source = package.get("source", {})
        if not isinstance(source, dict):
            raise lock.refused("'source' is not a table", lock.line_of_package(name))
        if "registry" in source:
            yield from pinned(lock, name, text_of(lock, package, "version"), list(_files(lock, package)))
        elif not any(_is_inside(source.get(kind)) for kind in _OF_THE_PROJECT):
            described = ", ".join(f"{kind} {place}" for kind, place in source.items()) or "no source"
            yield Locked(lock.line_of_package(name), name, elsewhere=described)


def _files(lock: LockText, package: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    sdist = [package["sdist"]] if isinstance(package.get("sdist"), dict) else []
    for file in (*sdist, *tables(lock, package, "wheels")):
        place = text_of(lock, file, "filename") or text_of(lock, file, "url") or text_of(lock, file, "path") or ""
        yield filename_of(place), text_of(lock, file, "hash")


def _is_inside(place: object) -> bool:
    return isinstance(place, str) and not place.startswith(("/", "..", "~")) and ":" not in place
