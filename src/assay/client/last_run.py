"""What the last run on this machine refused, kept so that it can be explained when the screen is gone.

Nothing secret is kept: of the command its program's name only, of URLs no credentials and no query.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from assay import durable
from assay.client.proxy.refusals import Refusal
from assay.client.registry import user_cache
from assay.model.errors import NotFound
from assay.model.outcomes import READINGS

CATALOGUE: Final = "docs/refusals.md"
_FORMAT: Final = 1


def keep_last_run(
    program: str, exit_code: int, refusals: Sequence[Refusal], notices: Sequence[str], now: datetime
) -> None:
    """Remember how a run ended, in the place of the one before."""
    document = {
        "assay-last-run": _FORMAT,
        "program": Path(program).name,
        "at": now.isoformat(),
        "exit_code": exit_code,
        "notices": list(notices),
        "refusals": [_document(refusal) for refusal in refusals],
    }
    durable.make_folder(_path().parent, mode=0o700)
    durable.replace_file(_path(), orjson.dumps(document, option=orjson.OPT_INDENT_2), mode=0o600)


def read_last_run() -> dict[str, Any]:
    """What was kept. Raises NotFound."""
    try:
        document: dict[str, Any] = orjson.loads(_path().read_bytes())
        if document["assay-last-run"] != _FORMAT:
            raise ValueError("another format")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotFound("no run is remembered here", subject=str(_path()), next_step="assay run -- COMMAND") from error
    return document


def tell_last_run(document: dict[str, Any]) -> str:
    """The last run as a person would tell it."""
    lines = [f"{document['program']}, {document['at'][:19]} UTC, ended with exit code {document['exit_code']}"]
    if not document["refusals"]:
        lines.append("  nothing was refused")
    for refusal in document["refusals"]:
        lines += ["", f"  {refusal['subject'] or refusal['url']}: {refusal['what']}"]
        for label in ("url", "expected", "found", "rule"):
            if refusal[label]:
                lines.append(f"    {label:<10} {refusal[label]}")
        lines.append(f"    {'reading':<10} {refusal['reading']}")
        if refusal["next_step"]:
            lines.append(f"    {'next step':<10} {refusal['next_step']}")
        lines.append(f"    {'more':<10} {CATALOGUE}#{refusal['rule']}")
    lines += [f"  let pass: {notice}" for notice in document["notices"]]
    return "\n".join(lines)


def _document(refusal: Refusal) -> dict[str, Any]:
    error = refusal.error
    return {
        "what": error.what,
        "rule": error.rule,
        "subject": error.subject,
        "expected": error.expected,
        "found": error.found,
        "reading": READINGS[error.reading],
        "next_step": error.next_step,
        "url": refusal.url,
        "at": refusal.at.isoformat(),
    }


def _path() -> Path:
    return user_cache() / "last-run.json"
