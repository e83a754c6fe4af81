"""Which index a verb asks: the one that is named, the only trusted one, or this user's own local one."""

import asyncio
import os
import sys
from collections.abc import Sequence

import click

from assay.cli.output import colours
from assay.client import local_index
from assay.client.discover import discover_indexes
from assay.client.registry import Registry, TrustedEntry, user_cache
from assay.model.errors import NotTrusted


async def trusted_or_local(url: str | None, discovered: Sequence[str]) -> tuple[TrustedEntry, bool]:
    """The index to install from, and whether it is the user's own local one, which is started where it does not run.

    ``discovered``: the indexes that installers ask by default here. Raises NotTrusted, CallerError, OperatorError.
    """
    try:
        return Registry.of_user().find(url), False
    except NotTrusted:
        if url is not None or not discovered:
            raise
    return await _local(discovered[0]), True


async def known_index(url: str | None) -> TrustedEntry:
    """The index to ask about what was installed: the local one only where it was used before. Raises as above."""
    try:
        return Registry.of_user().find(url)
    except NotTrusted:
        discovered = () if url is not None else discover_indexes(os.environ, user_cache())
        if not discovered or not local_index.folder_of(_with_slash(discovered[0])).exists():
            raise
    return await _local(discovered[0])


async def _local(upstream: str) -> TrustedEntry:
    running = await asyncio.to_thread(local_index.ensure_running, _with_slash(upstream), os.environ)
    click.secho(f"assay: {local_index.PROMISE}", fg="yellow", err=True, color=colours(sys.stderr))
    return await local_index.trusted(running)


def _with_slash(url: str) -> str:
    return url if url.endswith("/") else f"{url}/"
