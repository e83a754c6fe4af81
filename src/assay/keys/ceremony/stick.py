"""The folder in which a ceremony travels: files named by a manifest; whatever else lies there is not looked at.

Layout, below ``<stick>/assay-ceremony/``: ``manifest.json``, ``plan.toml``, ``current/<role>.json``,
``enrolments/<name>.json``, ``payloads/<role>.json``, ``signatures/<role>/<key id>.json``, ``merged/<role>.json``,
``transcript/<number>-<step>.json``. Invariants: a file is read only when its length and hash are the manifest's; the
manifest is written last, so a step that was interrupted left nothing; everything is bounded; nothing is followed out of
the folder. The manifest finds accidents and clumsy hands; whoever rewrites it too is found by what is signed.
"""

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from assay import durable
from assay.model.digests import Sha256, parse_sha256, sha256_of
from assay.model.errors import AlreadyExists, AssayError, NotFound, OperatorError, VerificationFailed

STICK_FORMAT: Final = "assay-ceremony-stick/1"
FOLDER: Final = "assay-ceremony"
MANIFEST: Final = "manifest.json"
MAX_FILES: Final = 1000
MAX_FILE_BYTES: Final = 5_000_000
_MAX_MANIFEST_BYTES: Final = 500_000
_NAME = re.compile(r"\A[a-z0-9][a-z0-9._-]{0,80}(/[a-z0-9][a-z0-9._-]{0,80}){0,2}\Z")


@dataclass(frozen=True, slots=True)
class Listed:
    """What the manifest says of a file."""

    size: int
    sha256: Sha256


class Stick:
    """An opened ceremony folder. ``files`` is the manifest as it was read, kept up to date by ``write``."""

    def __init__(self, folder: Path, files: dict[str, Listed], manifest: bytes) -> None:
        self.folder = folder
        self.files: Mapping[str, Listed] = files
        self._manifest = manifest

    @classmethod
    def create(cls, stick: Path) -> "Stick":
        """Begin a ceremony below ``stick``. Raises AlreadyExists when one is there."""
        folder = stick / FOLDER
        if (folder / MANIFEST).exists():
            raise AlreadyExists(
                "a ceremony is on this stick",
                subject=str(folder),
                next_step="go on with it, or use another stick: what was signed there must stay readable",
            )
        durable.make_folder(folder)
        manifest = _render({})
        durable.write_file(folder / MANIFEST, manifest)
        return cls(folder, {}, manifest)

    @classmethod
    def open(cls, stick: Path) -> "Stick":
        """Open the ceremony below ``stick``. Raises NotFound, or VerificationFailed for a malformed manifest."""
        folder = stick / FOLDER
        data = _read_regular(folder, MANIFEST, _MAX_MANIFEST_BYTES)
        return cls(folder, _parse(data), data)

    def read(self, name: str) -> bytes:
        """The file ``name``. Raises NotFound when it is not listed, VerificationFailed when it is another."""
        listed = self.files.get(name)
        if listed is None:
            raise NotFound(
                "the stick has no such file", subject=name, next_step="`assay ceremony status` says what is next"
            )
        data = _read_regular(self.folder, name, listed.size)
        if sha256_of(data) != listed.sha256:
            raise VerificationFailed(
                "this file of the stick was changed after it was written",
                subject=name,
                rule="stick-tampered",
                expected=f"sha256 {listed.sha256}",
                found=f"sha256 {sha256_of(data)}",
                next_step="stop; note it with the witness; go on from a copy of the stick that is whole",
            )
        return data

    def names(self, prefix: str) -> tuple[str, ...]:
        """The listed files that begin with ``prefix``, sorted."""
        return tuple(sorted(name for name in self.files if name.startswith(prefix)))

    def write(self, files: Mapping[str, bytes]) -> None:
        """Add ``files``; durable on return, listed all at once. A file is written again only with the same bytes.

        Raises AlreadyExists when a name is taken by other bytes, OperatorError when somebody else wrote meanwhile.
        """
        listed = dict(self.files)
        for name, data in files.items():
            _require_writable(name, data)
            entry = Listed(len(data), sha256_of(data))
            if listed.setdefault(name, entry) != entry:
                raise AlreadyExists(
                    "the stick has this file with other contents", subject=name, rule="stick-file-exists"
                )
        if len(listed) > MAX_FILES:
            raise OperatorError("too many files on the stick", expected=f"at most {MAX_FILES}")
        if _read_regular(self.folder, MANIFEST, _MAX_MANIFEST_BYTES) != self._manifest:
            raise OperatorError(
                "somebody else wrote to the stick meanwhile", rule="stick-busy", next_step="run it again"
            )
        durable.write_files({self.folder / name: data for name, data in files.items()})
        manifest = _render(listed)
        durable.write_file(self.folder / MANIFEST, manifest)
        self.files, self._manifest = listed, manifest


def _require_writable(name: str, data: bytes) -> None:
    if not _NAME.match(name) or name == MANIFEST:
        raise OperatorError("not a name for a file of the stick", subject=repr(name))
    if len(data) > MAX_FILE_BYTES:
        raise OperatorError("too large for the stick", subject=name, expected=f"at most {MAX_FILE_BYTES} bytes")


def _render(files: Mapping[str, Listed]) -> bytes:
    entries = {name: {"sha256": listed.sha256, "size": listed.size} for name, listed in files.items()}
    options = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps({"format": STICK_FORMAT, "files": entries}, option=options)


def _parse(data: bytes) -> dict[str, Listed]:
    try:
        document = orjson.loads(data)
        if set(document) != {"format", "files"} or document["format"] != STICK_FORMAT:
            raise ValueError(f"not {STICK_FORMAT}")
        files = {name: _parse_listed(name, entry) for name, entry in document["files"].items()}
        if len(files) > MAX_FILES:
            raise ValueError(f"{len(files)} files, at most {MAX_FILES} are read")
    except (ValueError, KeyError, TypeError, AttributeError, AssayError) as error:
        raise VerificationFailed(
            "the stick's manifest is damaged",
            subject=MANIFEST,
            rule="stick-tampered",
            found=f"{type(error).__name__}: {error}",
        ) from error
    return files


def _parse_listed(name: str, entry: Mapping[str, object]) -> Listed:
    size, digest = entry["size"], entry["sha256"]
    if not _NAME.match(name) or set(entry) != {"size", "sha256"}:
        raise ValueError(f"not an entry for {name!r}")
    if not isinstance(size, int) or not 0 <= size <= MAX_FILE_BYTES or not isinstance(digest, str):
        raise ValueError(f"not a size and hash for {name!r}")
    return Listed(size, parse_sha256(digest))


def _read_regular(folder: Path, name: str, max_bytes: int) -> bytes:
    """A regular file below ``folder`` reached through no symbolic link; a longer one is cut at one byte more."""
    inner = folder
    for part in Path(name).parts[:-1]:
        inner = inner / part
        if inner.is_symlink():
            raise VerificationFailed("a link on the stick is not followed", subject=name, rule="stick-tampered")
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        if name == MANIFEST:
            raise NotFound("there is no ceremony on this stick", subject=str(folder)) from error
        raise VerificationFailed("a file of the stick is gone", subject=name, rule="stick-tampered") from error
    except OSError as error:
        raise VerificationFailed(
            "a file of the stick cannot be read", subject=name, rule="stick-tampered", found=error.strerror
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise VerificationFailed("not a regular file", subject=name, rule="stick-tampered")
        return file.read(max_bytes + 1)


def digest_of_files(files: Mapping[str, bytes]) -> dict[str, Sha256]:
    """Name -> SHA-256 of each file."""
    return {name: Sha256(hashlib.sha256(data).hexdigest()) for name, data in files.items()}
