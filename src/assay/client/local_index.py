"""The index of this user's own: where no index is trusted, ``assay run`` starts one that pulls through from upstream.

It protects against what changes after it was first seen here; its keys are on this machine. Commands at the same time,
and shortly after each other, share one process, which ends by itself when nobody asks it any more.
"""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from assay import durable
from assay.client.registry import TrustedEntry, fetch_root, user_data
from assay.client.store import MetadataStore
from assay.model.digests import Sha256, parse_sha256
from assay.model.errors import CallerError, OperatorError
from assay.trust.layout import ROOT

IDLE_EXIT_S = 600.0
START_TIMEOUT_S = 60.0
PROMISE = (
    "no index is trusted yet: using your own local index. It remembers every file it saw first and refuses a change;\n"
    "it cannot know whether what it saw first was good, and its keys are on this machine"
)


@dataclass(frozen=True, slots=True)
class LocalIndex:
    """A running local index."""

    url: str
    fingerprint: Sha256
    upstream: str


def ensure_running(upstream: str, environ: Mapping[str, str]) -> LocalIndex:
    """The local index that pulls through from ``upstream``, started if it does not run. Raises OperatorError."""
    folder = folder_of(upstream)
    durable.make_folder(folder, mode=0o700)
    announcement = folder / "announcement.json"
    if (running := _running(announcement, upstream)) is not None:
        return running
    with MetadataStore(folder).locked():  # commands that start at the same time share one index
        return _running(announcement, upstream) or _started(folder, announcement, upstream, environ)


def _started(folder: Path, announcement: Path, upstream: str, environ: Mapping[str, str]) -> LocalIndex:
    announcement.unlink(missing_ok=True)
    process = _start(folder, announcement, upstream, environ)
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if (running := _running(announcement, upstream)) is not None:
            return running
        if process.poll() is not None and process.returncode != 0:
            break
        time.sleep(0.02)
    raise OperatorError(
        "the local index did not start",
        subject=str(folder),
        rule="local-index",
        found=_last_words(folder),
        next_step="assay run --index URL uses another one; pip install 'assay[index]' if the server is not installed",
    )


def _start(folder: Path, announcement: Path, upstream: str, environ: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    command = [
        *(sys.executable, "-m", "assay", "serve", "--data", str(folder / "data"), "--port", "0", "--json"),
        *("--insecure-dev-keys", "--upstream", upstream, "--idle-exit", str(IDLE_EXIT_S)),
        *("--announce", str(announcement)),
    ]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(environ),
            cwd=folder,
            start_new_session=True,
        )


def _running(announcement: Path, upstream: str) -> LocalIndex | None:
    try:
        document = json.loads(announcement.read_text(encoding="utf-8"))
        local = LocalIndex(
            document["url"],
            parse_sha256(document["fingerprint"].removeprefix("sha256:")),
            document["upstream"],
        )
    except (OSError, ValueError, KeyError, CallerError):
        return None
    return local if local.upstream == upstream and is_alive(local.url) else None


async def trusted(local: LocalIndex) -> TrustedEntry:
    """The local index as a trusted one, from its own root on."""
    entry = TrustedEntry(local.url, local.fingerprint, datetime.now(UTC), folder_of(local.upstream))
    if entry.store.read(ROOT) is None:
        entry.store.write(ROOT, await fetch_root(local.url, local.fingerprint))
    return entry


def folder_of(upstream: str) -> Path:
    """Where the local index for ``upstream`` keeps everything."""
    return user_data() / "local" / hashlib.sha256(upstream.encode()).hexdigest()[:12]


def is_alive(url: str) -> bool:
    """Whether an index answers at ``url``, which is on this machine."""
    from urllib.request import ProxyHandler, build_opener  # a run behind a trusted index needs none

    try:
        with build_opener(ProxyHandler({})).open(f"{url}healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _last_words(folder: Path) -> str:
    try:
        return (folder / "log").read_text(encoding="utf-8", errors="replace")[-500:].strip()
    except OSError:
        return "no log"
