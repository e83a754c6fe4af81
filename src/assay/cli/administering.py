"""Where an administrator's verbs act: on a data folder of this machine, or on an index anywhere, with a token."""

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import click

from assay.cli.credentials import read_token
from assay.cli.output import json_option


class Desk(Protocol):
    """Has operations done."""

    def perform(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """The result of ``operation``. Parameters that are None are left out. Raises AssayError."""


@dataclass(frozen=True)
class DataDesk:
    """Acts on the data folder ``data``."""

    data: Path

    def perform(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """See ``Desk``."""
        from assay.cli.desk import now, opened_ledger, settle
        from assay.index.administration.desk import AdministrationDesk
        from assay.index.config import DataFolder, load_config

        issuers = load_config(DataFolder(self.data.resolve()).config_file).oidc.issuers
        with opened_ledger(self.data) as ledger:
            done = AdministrationDesk(ledger, now, issuers).perform(operation, _given(parameters), None)
        state = {"state": settle(self.data, done.proposals)} if done.proposals is not None else {}
        return {**done.result, **state}


@dataclass(frozen=True)
class RemoteDesk:
    """Acts on the index at ``url``, with the token in ``token_file``, in ASSAY_TOKEN, or asked for."""

    url: str
    token_file: Path | None

    def perform(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """See ``Desk``."""
        from assay.client.administration import Administrator

        administrator = Administrator(self.url, read_token(self.token_file, self.url))
        return asyncio.run(administrator.perform(operation, _given(parameters)))


def _given(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value is not None}


def administers(command: Callable[..., None]) -> Callable[..., None]:
    """A verb's options: where it acts, and ``--json``; the verb gets ``desk`` and ``as_json``."""

    @click.option("--index", "url", metavar="URL", help="Act on this index, with a token of the action admin.")
    @click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="With --index: holds your token, of the action admin.  [default: ASSAY_TOKEN, or asked for]",
    )
    @click.option(
        "--data",
        type=click.Path(path_type=Path),
        help="Act on this data folder.  [default: assay-data, without --index]",
    )
    @json_option
    @functools.wraps(command)
    def with_desk(*words: Any, url: str | None, token_file: Path | None, data: Path | None, **options: Any) -> None:
        if url is not None and data is not None:
            raise click.UsageError("--index and --data: an index is administered in one way at a time")
        desk = RemoteDesk(url, token_file) if url is not None else DataDesk(data or Path("assay-data"))
        command(*words, desk=desk, **options)

    return with_desk
