"""Nothing is served between a break-in and new keys: a mark in the data folder names the keys that were stolen.

Invariant: the mark outlives everything but keys that are none of those; then it says nothing any more.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
from tuf.api.metadata import Root, Targets

from assay import durable
from assay.index.config import DataFolder
from assay.model.errors import OperatorError
from assay.trust.envelope import parse_envelope
from assay.trust.layout import BINS, ROOT, SNAPSHOT, TIMESTAMP
from assay.trust.plan import succinct_roles


def mark_of(data: DataFolder) -> Path:
    """Where the mark lies."""
    return data.root / "recovery" / "frozen.json"


def freeze(data: DataFolder, stolen: Iterable[str]) -> None:
    """Serve nothing from ``data`` that the keys ``stolen`` (key ids) could sign. Durable on return."""
    known = read_mark(data)
    document = {"stolen": sorted({*stolen, *known})}
    durable.write_file(mark_of(data), orjson.dumps(document, option=orjson.OPT_INDENT_2))


def read_mark(data: DataFolder) -> frozenset[str]:
    """The keys that were stolen; empty where nobody broke in."""
    try:
        document: dict[str, Any] = orjson.loads(mark_of(data).read_bytes())
        return frozenset(map(str, document["stolen"]))
    except FileNotFoundError:
        return frozenset()
    except (ValueError, KeyError, TypeError) as error:
        raise OperatorError("this mark is damaged", subject=str(mark_of(data)), rule="recovery-frozen") from error


def restored_mark(data: DataFolder) -> Path:
    """Lies there from a restore on, until somebody said what the newest publication was that anybody saw."""
    return data.root / "recovery" / "restored.json"


def require_thawed(data: DataFolder) -> None:
    """Raise OperatorError while a stolen key, or an old backup, would decide what is served next (threat B13)."""
    if restored_mark(data).exists():
        raise OperatorError(
            "this data folder comes from a backup, and nobody said what was published after it",
            subject=str(data.root),
            rule="restored-unconfirmed",
            next_step="assay restore --published FOLDER, or --bundle FILE, or --nothing-newer",
        )
    stolen = read_mark(data)
    if not stolen:
        return
    left = sorted(stolen & _keys_after(data))
    if left:
        raise OperatorError(
            "this index is frozen: keys that were stolen are still named",
            subject=str(data.root),
            rule="recovery-frozen",
            expected="a root and a bins role that name other online keys",
            found=", ".join(keyid[:12] for keyid in left),
            next_step="assay key rotate-online, and a ceremony: docs/operations.md, 'Somebody broke in'",
        )


def _keys_after(data: DataFolder) -> set[str]:
    """The online keys that count once the inbox is published."""
    root = parse_envelope(_newest(data, ROOT), Root, ROOT).signed
    bins = parse_envelope(_newest(data, BINS), Targets, BINS).signed
    return {*root.roles[TIMESTAMP].keyids, *root.roles[SNAPSHOT].keyids, *succinct_roles(bins).keyids}


def _newest(data: DataFolder, role: str) -> bytes:
    """The file of ``role`` with the highest version, waiting or published; whether it verifies, the signer sees."""
    found = [*data.published.glob(f"tuf/*.{role}.json"), *data.inbox.glob(f"*.{role}.json")]
    numbered = [(int(number), path) for path in found if (number := path.name.split(".")[0]).isdigit()]
    if not numbered:
        raise OperatorError("this data folder has no such role", subject=role, rule="no-root")
    return max(numbered)[1].read_bytes()
