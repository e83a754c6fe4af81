"""``assay verify FILE...``: are these files what the index vouches for?"""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli.chosen import known_index
from assay.cli.output import colours, describe, json_option, print_result
from assay.client.registry import opened
from assay.client.verify import Verdict, verify_file
from assay.model.errors import CallerError
from assay.model.outcomes import gravest

if TYPE_CHECKING:
    from assay.provenance.openpgp import VerifiedSignature


_file = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--index", "url", metavar="URL", help="Which trusted index; needed when there are several.")
@click.option("--asc", "signature", type=_file, help="Check this OpenPGP signature of the one FILE instead.")
@click.option(
    "--certificate",
    "certificates",
    type=_file,
    multiple=True,
    help="With --asc: who must have signed; no index is asked.  [default: whom the file's project registered]",
)
@json_option
def command(
    files: tuple[Path, ...], url: str | None, signature: Path | None, certificates: tuple[Path, ...], as_json: bool
) -> None:
    """Compare wheels and sdists with what the index vouches for under their names, and with who must have signed them.

    With --asc, say whether FILE was signed by whom it should have been, as gpg --verify does not.
    """
    if signature is not None:
        _verify_signature(files, signature, certificates, url, as_json=as_json)
        return
    if certificates:
        raise CallerError("--certificate belongs to --asc")
    verdicts = asyncio.run(_verify(files, url))
    rows = [
        {
            "file": str(verdict.path),
            "sha256": verdict.sha256,
            "verified": verdict.error is None,
            "rule": verdict.error.rule if verdict.error else None,
            "reason": str(verdict.error) if verdict.error else None,
        }
        for verdict in verdicts
    ]
    good = [click.style(f"verified  {verdict.path}", fg="green") for verdict in verdicts if verdict.error is None]
    print_result({"files": rows}, "\n".join(good), as_json=as_json)
    errors = [verdict.error for verdict in verdicts if verdict.error is not None]
    for error in errors:
        click.echo(describe(error), err=True, color=colours(sys.stderr))
    sys.exit(gravest(errors))


def _verify_signature(
    files: tuple[Path, ...], signature: Path, certificates: tuple[Path, ...], url: str | None, *, as_json: bool
) -> None:
    from assay.client.provenance.at_hand import verify_with_certificates, verify_with_index

    if len(files) != 1:
        raise CallerError("a signature is of one file", expected="one FILE", found=str(len(files)))
    moment = datetime.now(UTC)

    async def ask_index() -> "VerifiedSignature":
        async with opened(await known_index(url)) as index:
            await index.refresh()
            return await verify_with_index(index, files[0], signature, moment)

    if certificates:
        verified = verify_with_certificates(files[0], signature, certificates, moment)
    else:
        verified = asyncio.run(ask_index())
    rows = {
        "file": str(files[0]),
        "certificate": verified.certificate,
        "key": verified.key,
        "user_ids": list(verified.user_ids),
        "signed_at": verified.signed_at,
        "sha256": verified.sha256,
    }
    lines = [
        click.style(f"good signature of {files[0]}", fg="green"),
        f"  by    {', '.join(verified.user_ids) or 'no user ID'}",
        f"  with  certificate {verified.certificate}, key {verified.key}",
        f"  made  {verified.signed_at:%Y-%m-%d %H:%M:%S} UTC",
    ]
    print_result(rows, "\n".join(lines), as_json=as_json)


async def _verify(files: tuple[Path, ...], url: str | None) -> list[Verdict]:
    async with opened(await known_index(url)) as index:
        await index.refresh()
        return [await verify_file(index, path) for path in files]
