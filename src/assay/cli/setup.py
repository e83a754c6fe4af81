"""``assay setup``: pip and uv configured for good; ``--undo`` takes it back."""

import os

import click

from assay.cli.output import json_option, print_result
from assay.client.registry import Registry
from assay.client.setup import DEFAULT_PORT, UNIT, set_up, undo


@click.command()
@click.option("--index", "url", metavar="URL", help="Which trusted index; needed when there are several.")
@click.option("--port", type=click.IntRange(1024, 65535), default=DEFAULT_PORT, show_default=True)
@click.option("--service/--no-service", default=True, help="Start assay proxy now and with every login (systemd).")
@click.option("--undo", "take_back", is_flag=True, help="Put every file back as it was.")
@json_option
def command(url: str | None, port: int, service: bool, take_back: bool, as_json: bool) -> None:
    """Have pip and uv install from a trusted index through a verifying endpoint on loopback, without `assay run`.

    Writes their user configuration (index, and caches of their own) and a systemd user unit for `assay proxy`. Whoever
    gives an installer another index on its command line goes around it; `assay run` is never gone around silently.

    \b
    assay trust add https://pypi.acme.example/ --fingerprint sha256:... && assay setup
    assay setup --undo
    """
    if take_back:
        changed = undo(os.environ)
        text = "\n".join(f"as before  {path}" for path in changed.files)
    else:
        changed = set_up(Registry.of_user().find(url), port, os.environ, with_service=service)
        lines = [f"wrote      {path}" for path in changed.files]
        lines += [f"dropped    {setting}" for setting in changed.dropped]
        running = f"{UNIT} runs" if changed.service else "start the endpoint with your session: assay proxy"
        text = "\n".join([*lines, running])
    result = {
        "files": [str(path) for path in changed.files],
        "dropped": list(changed.dropped),
        "service": changed.service,
    }
    print_result(result, text, as_json=as_json)
