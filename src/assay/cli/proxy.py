"""``assay proxy``: the permanent endpoint that ``assay setup`` configures pip and uv for."""

import asyncio
import signal
import sys
from contextlib import suppress

import click

from assay.cli.output import colours
from assay.client.last_run import keep_last_run
from assay.client.organisation import organisation_layer
from assay.client.policed import PolicedSource
from assay.client.policies import user_layers
from assay.client.proxy.answers import Answers
from assay.client.proxy.endpoint import Endpoint
from assay.client.proxy.passing import Passing
from assay.client.proxy.refusals import Refusal, Refusals
from assay.client.proxy.routes import cover
from assay.client.registry import Registry, TrustedEntry, opened
from assay.client.run import utc_now
from assay.client.setup import Setup, read_setup
from assay.client.trusted_index import TrustedIndex
from assay.model.errors import AssayError
from assay.policy.model import Policy
from assay.policy.rules import provenance_of


@click.command()
def command() -> None:
    """Answer on loopback as the index that `assay setup` chose, from verified data, until stopped.

    Your own policy and the organisation's count; a project's cannot be known here. Refusals go to standard error, and
    `assay explain --last` tells the newest.

    \b
    systemctl --user status assay-proxy
    """
    setup = read_setup()
    asyncio.run(_serve(setup, Registry.of_user().find(setup.index)))


async def _serve(setup: Setup, entry: TrustedEntry) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    covered = cover(entry.url, ())
    async with opened(entry, notice=_say) as index:
        passing = Passing({})

        async def renew() -> Answers:
            policy = await _policy(index, entry)
            source = PolicedSource([index], policy, utc_now, _say)
            return Answers(source, covered, policy, _Told(), passing, utc_now)

        endpoint = Endpoint(setup.place, covered.own, renew, utc_now)
        await endpoint.start()
        click.echo(f"assay: answering for {entry.url} at 127.0.0.1:{setup.place.port}", err=True)
        try:
            await stopped.wait()
        finally:
            await endpoint.close()


async def _policy(index: TrustedIndex, entry: TrustedEntry) -> Policy:
    """This user's policy and the organisation's as they are now, with fresh metadata."""
    await index.refresh()
    layer = await organisation_layer(index, entry.folder, _say)
    policy = Policy(user_layers()).with_layers([layer] if layer is not None else [])
    index.policy = provenance_of(policy)
    return policy


class _Told(Refusals):
    """Refusals are told at once, and stop nothing but what was refused: the next command is another one."""

    def record(self, error: AssayError, url: str, at: object, *, package: bool) -> None:
        """Say it, and keep it for ``assay explain --last``."""
        now = utc_now()
        del at
        click.secho(f"assay: refused {url}: {error} [{error.rule}]", fg="red", err=True, color=colours(sys.stderr))
        refusal = Refusal(error, url, now, package)
        keep_last_run("assay proxy", refusal.exit_code, [refusal], [], now)

    def blocking(self) -> Refusal | None:
        """Never."""
        return None


def _say(notice: str) -> None:
    click.secho(f"assay: {notice}", fg="yellow", err=True, color=colours(sys.stderr))
