"""``assay tuf-client``: the command line that the TUF conformance suite speaks, over Assay's verifying core.

Metadata is stored under unversioned names (``root.json``, ...). Exit code 0 or 1, as the protocol wants.
"""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import click

from assay import durable
from assay.cli.output import report_error
from assay.client.store import MetadataStore
from assay.fetch import Fetcher
from assay.model.digests import sha256_of
from assay.model.errors import AssayError, VerificationFailed
from assay.trust.layout import ROOT, TargetPath, hashed_path, metadata_filename
from assay.trust.update import Answer, Fetch, Keep, Load, Request, Steps, lookup, refresh
from assay.trust.verify import TrustedMetadata, VerifiedTarget

T = TypeVar("T")
R = TypeVar("R")


@click.command()
@click.option("--metadata-dir", type=click.Path(path_type=Path), required=True)
@click.option("--metadata-url", metavar="URL")
@click.option("--target-name", "target_names", multiple=True)
@click.option("--target-dir", type=click.Path(path_type=Path))
@click.option("--target-base-url", metavar="URL")
@click.argument("action", type=click.Choice(["init", "refresh", "download"]))
@click.argument("root", required=False, type=click.Path(path_type=Path, exists=True))
def command(
    metadata_dir: Path,
    metadata_url: str | None,
    target_names: tuple[str, ...],
    target_dir: Path | None,
    target_base_url: str | None,
    action: str,
    root: Path | None,
) -> None:
    """A TUF client for the public conformance suite: init ROOT, refresh, download."""
    store = MetadataStore(metadata_dir)
    try:
        if action == "init":
            store.write(ROOT, _required(root, "ROOT").read_bytes())
        elif action == "refresh":
            asyncio.run(_Client(store, _required(metadata_url, "--metadata-url")).download([], None, None))
        else:
            client = _Client(store, _required(metadata_url, "--metadata-url"))
            base = _required(target_base_url, "--target-base-url")
            asyncio.run(client.download(target_names, base, _required(target_dir, "--target-dir")))
    except AssayError as error:
        report_error(error)
        sys.exit(1)


def _required(value: T | None, name: str) -> T:
    if value is None:
        raise click.UsageError(f"{name} is needed for this")
    return value


class _Client:
    """One refresh and its downloads."""

    def __init__(self, store: MetadataStore, url: str) -> None:
        self._store = store
        self._url = url.rstrip("/")
        self._fetcher = Fetcher()

    async def download(self, names: tuple[str, ...] | list[str], base_url: str | None, folder: Path | None) -> None:
        """Refresh, then download each target of ``names`` from ``base_url`` into ``folder``."""
        async with self._fetcher:
            trusted = TrustedMetadata(self._store.read_root(), now=datetime.now(UTC))
            await self._run(refresh(trusted))
            for name in names:
                target = await self._run(lookup(trusted, TargetPath(name)))
                if target is None:
                    raise VerificationFailed("nobody vouches for this target", subject=name, rule="not-vouched-for")
                if base_url is not None and folder is not None:
                    await self._store_target(target, bool(trusted.root.consistent_snapshot), base_url, folder)

    async def _store_target(self, target: VerifiedTarget, hashed: bool, base_url: str, folder: Path) -> None:
        kept = folder / quote(target.path, safe="")
        if kept.is_file() and sha256_of(kept.read_bytes()) == target.sha256:
            return
        path = hashed_path(target.path, target.sha256) if hashed else target.path
        data = await self._fetcher.get(f"{base_url.rstrip('/')}/{quote(path)}", max_bytes=target.length)
        if data is None or len(data) != target.length or sha256_of(data) != target.sha256:
            raise VerificationFailed("the target is not what was vouched for", subject=target.path, rule="target-hash")
        durable.write_file(kept.absolute(), data)

    async def _run(self, steps: Steps[R]) -> R:
        reply: Answer = None
        while True:
            try:
                request = steps.send(reply)
            except StopIteration as done:
                result: R = done.value
                return result
            reply = await self._answer(request)

    async def _answer(self, request: Request) -> Answer:
        match request:
            case Load(role):
                return self._store.read(role)
            case Keep(role, data):
                self._store.write(role, data)
                return None
            case Fetch(role, version, max_bytes):
                return await self._fetcher.get(f"{self._url}/{metadata_filename(role, version)}", max_bytes=max_bytes)
