"""``assay trust``: which indexes this machine trusts, and from where on."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import click

from assay import durable
from assay.cli.output import json_option, print_result
from assay.client.registry import (
    Bundle,
    Registry,
    TrustedEntry,
    decode_bundle,
    encode_bundle,
    fetch_root,
    normal_url,
    opened,
)
from assay.model.digests import parse_sha256
from assay.model.errors import AssayError, CallerError


@click.group()
def command() -> None:
    """Say which indexes this machine trusts, and from where on."""


@command.command()
@click.argument("url")
@click.option("--fingerprint", metavar="sha256:HEX", help="SHA-256 of the index's first root, from its operator.")
@click.option("--root", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A root.json to trust.")
@click.option("--bundle", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="What 'export' wrote.")
@json_option
def add(url: str, fingerprint: str | None, root: Path | None, bundle: Path | None, as_json: bool) -> None:
    """Trust the index at URL from a root, a root's fingerprint, or an exported bundle on.

    A bundle is a floor: nothing older is accepted. It can lie beside a lock file; where the index is trusted already it
    raises the floor.
    """
    if sum(value is not None for value in (fingerprint, root, bundle)) != 1:
        raise CallerError("say what to trust: exactly one of --fingerprint, --root, --bundle")
    if root is not None:
        start = Bundle(url, root.read_bytes())
    elif bundle is not None:
        floor = decode_bundle(bundle.read_bytes())
        start = Bundle(url, floor.root, floor.timestamp, floor.snapshot)
    else:
        expected = parse_sha256((fingerprint or "").removeprefix("sha256:"))
        start = Bundle(url, asyncio.run(fetch_root(url, expected)))
    registry = Registry.of_user()
    known = next((entry for entry in registry.entries() if entry.url == normal_url(url)), None)
    if bundle is not None and known is not None:
        _raise_floor(registry, known, start, as_json=as_json)
        return
    entry = registry.add(start, datetime.now(UTC))
    try:
        asyncio.run(_refresh(entry))
    except AssayError:
        registry.remove(entry)
        raise
    result = {"url": entry.url, "fingerprint": f"sha256:{entry.fingerprint}"}
    print_result(result, f"trusted: {entry.url} (root sha256:{entry.fingerprint})", as_json=as_json)


def _raise_floor(registry: Registry, entry: TrustedEntry, floor: Bundle, *, as_json: bool) -> None:
    """Both before and after: the index must be at the floor, and stay there."""
    asyncio.run(_refresh(entry))
    raised = registry.raise_floor(entry, floor)
    if raised:
        asyncio.run(_refresh(entry))
    text = f"trusted already: {entry.url}; " + ("the floor is raised" if raised else "the floor is known")
    print_result(
        {"url": entry.url, "fingerprint": f"sha256:{entry.fingerprint}", "raised": raised}, text, as_json=as_json
    )


@command.command()
@click.argument("url")
@click.option("--fingerprint", metavar="sha256:HEX", help="SHA-256 of the new identity's root, from its bulletin.")
@click.option("--root", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The new root.json.")
@json_option
def replace(url: str, fingerprint: str | None, root: Path | None, as_json: bool) -> None:
    """Trust a new identity of the index at URL instead of the old one, whose root keys were lost or stolen.

    Only after its operators told you the fingerprint over a channel that is not the index.
    """
    if (fingerprint is None) == (root is None):
        raise CallerError("say what to trust: exactly one of --fingerprint, --root")
    if root is not None:
        data = root.read_bytes()
    else:
        data = asyncio.run(fetch_root(url, parse_sha256((fingerprint or "").removeprefix("sha256:"))))
    entry = Registry.of_user().replace(url, data, datetime.now(UTC))
    asyncio.run(_refresh(entry))
    result = {"url": entry.url, "fingerprint": f"sha256:{entry.fingerprint}"}
    print_result(
        result, f"replaced: {entry.url} is now trusted from root sha256:{entry.fingerprint} on", as_json=as_json
    )


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the trusted indexes."""
    entries = Registry.of_user().entries()
    rows = [{"url": e.url, "fingerprint": f"sha256:{e.fingerprint}", "added": e.added.isoformat()} for e in entries]
    text = "\n".join(f"{row['url']}  {row['fingerprint']}  since {row['added']}" for row in rows)
    print_result({"indexes": rows}, text or "no index is trusted yet: assay trust add URL ...", as_json=as_json)


@command.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--index", "url", metavar="URL", help="Which trusted index; needed when there are several.")
def export(file: Path, url: str | None) -> None:
    """Write a bundle to FILE: a client that starts from it refuses anything older than what this machine knows."""
    registry = Registry.of_user()
    entry = registry.find(url)
    asyncio.run(_refresh(entry))
    durable.write_file(file.absolute(), encode_bundle(registry.export(entry)))
    click.echo(f"wrote {file}")


async def _refresh(entry: TrustedEntry) -> None:
    async with opened(entry) as index:
        await index.refresh()
