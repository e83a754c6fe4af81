"""Which verified file was installed where: installers keep no hash of a wheel, so Assay keeps a receipt.

What was handed out goes into a list beside the private caches it may be installed from later. After a run every
environment that the command can have meant is looked at; for what is new in it the receipt notes the file. Receipts lie
in this user's data, so whoever alters an environment does not alter them.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson
from packaging.utils import InvalidName, canonicalize_name

from assay import durable
from assay.client.registry import user_data
from assay.client.store import MetadataStore

_FORMAT: Final = 1
_HANDED: Final = "handed-out.json"
_SLACK: Final = timedelta(seconds=2)
_PYTHON_OPTIONS: Final = ("--python", "-p")


@dataclass(frozen=True, slots=True)
class Receipt:
    """One file that was verified and handed out. ``rings``: in which it was then; ``by``: who had signed it."""

    project: str
    version: str
    filename: str
    sha256: str
    index: str
    rings: tuple[str, ...]
    by: tuple[str, ...]
    at: str


def note_handed_out(caches: Path, new: Sequence[Receipt]) -> Mapping[str, Receipt]:
    """Add ``new`` to what was handed into ``caches``; returns all of it by filename."""
    path = caches / _HANDED
    if not new:
        return _read(path)
    with MetadataStore(user_data() / "receipts").locked():
        known = {**_read(path), **{receipt.filename: receipt for receipt in new}}
        _write(path, known)
    return known


def note_installed(environments: Iterable[Path], handed: Mapping[str, Receipt], since: datetime) -> list[Path]:
    """Write down which of ``handed`` came into ``environments`` since the run began; returns those with news."""
    by_release: dict[tuple[str, str], Receipt] = {}
    for receipt in handed.values():
        older = by_release.get((receipt.project, receipt.version))
        if older is None or older.at <= receipt.at:
            by_release[receipt.project, receipt.version] = receipt
    changed = []
    for environment in environments:
        found = (by_release.get(release) for release in _installed_since(environment, since - _SLACK))
        new = {receipt.project: receipt for receipt in found if receipt is not None}
        if new:
            with MetadataStore(user_data() / "receipts").locked():
                _write(_place(environment), {**_read(_place(environment)), **new})
            changed.append(environment)
    return changed


def receipts_of(environment: Path) -> Mapping[str, Receipt]:
    """What was installed into ``environment`` through Assay, by project."""
    return _read(_place(environment))


def environments_meant(command: Sequence[str], environ: Mapping[str, str], working_folder: Path) -> list[Path]:
    """The virtual environments that ``command`` may install into, as far as it can be told from outside."""
    words = list(command)
    found = [environ.get("VIRTUAL_ENV"), environ.get("CONDA_PREFIX"), environ.get("UV_PROJECT_ENVIRONMENT")]
    found += [words[at + 1] for at, word in enumerate(words[:-1]) if word in _PYTHON_OPTIONS]
    found += [word.partition("=")[2] for word in words if word.startswith("--python=")]
    found += [shutil.which(words[0], path=environ.get("PATH")) or words[0], str(working_folder / ".venv")]
    places = (_environment_of(working_folder / text) for text in found if text)
    return list(dict.fromkeys(place for place in places if place is not None))


def _environment_of(path: Path) -> Path | None:
    """The environment that ``path`` is, or that its interpreter or program belongs to."""
    candidates = (path, path.parent, path.parent.parent)
    return next((folder.resolve() for folder in candidates if (folder / "pyvenv.cfg").is_file()), None)


def _installed_since(environment: Path, since: datetime) -> Iterator[tuple[str, str]]:
    for folder in (*environment.glob("lib/python*/site-packages"), environment / "Lib" / "site-packages"):
        for info in folder.glob("*.dist-info"):
            name, _, version = info.name.removesuffix(".dist-info").rpartition("-")
            try:
                if info.stat().st_mtime >= since.timestamp():
                    yield canonicalize_name(name, validate=True), version
            except (OSError, InvalidName):
                continue


def _place(environment: Path) -> Path:
    key = hashlib.sha256(os.fsencode(environment.resolve())).hexdigest()[:24]
    return user_data() / "receipts" / f"{key}.json"


def _read(path: Path) -> Mapping[str, Receipt]:
    """What was kept; nothing where it is not ours: a receipt only helps, nothing is believed for its sake."""
    try:
        document = orjson.loads(path.read_bytes())
        if document["assay-receipts"] != _FORMAT:
            return {}
        return {key: _receipt(entry) for key, entry in document["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _receipt(entry: dict[str, Any]) -> Receipt:
    return Receipt(**{**entry, "rings": tuple(entry["rings"]), "by": tuple(entry["by"])})


def _write(path: Path, receipts: Mapping[str, Receipt]) -> None:
    files = {key: asdict(receipt) for key, receipt in receipts.items()}
    durable.make_folder(path.parent, mode=0o700)
    durable.write_file(path, orjson.dumps({"assay-receipts": _FORMAT, "files": files}), mode=0o600)
