"""``assay refresh``: sign what keeps clients from refusing the index, by hand."""

from pathlib import Path

import click

from assay.cli.desk import data_folder, data_option, now
from assay.cli.output import json_option, print_result
from assay.cli.passphrases import data_passphrase
from assay.index.config import load_config
from assay.index.expiries import due_reminders, role_expiries
from assay.index.ledger import Ledger
from assay.index.published import PublishedStore
from assay.index.serve import only_process
from assay.index.upkeep.refresh import refresh


@click.command()
@click.option("--trust-clock", is_flag=True, help="The clock is right now; it was ahead before.")
@data_option
@json_option
def command(trust_clock: bool, data: Path, as_json: bool) -> None:
    """Publish what waits, and sign timestamp and snapshot again, so that clients have their full time from now on.

    For an index that is not served: before a long repair, after the signer was down, after a clock had run ahead.
    """
    folder = data_folder(data)
    config = load_config(folder.config_file)
    with only_process(folder):
        passphrase = data_passphrase(folder, insecure=False)
        ledger = Ledger.open(folder.ledger_file)
        try:
            number = refresh(folder, config, passphrase, ledger, now(), trust_clock=trust_clock)
        finally:
            ledger.close()
    published = PublishedStore(folder.published)
    ends = {role: f"{end:%Y-%m-%d %H:%M} UTC" for role, end in role_expiries(published).items()}
    lines = [f"publication {number}", *(f"{role} is valid until {end}" for role, end in ends.items())]
    lines += [click.style(str(one), fg="yellow") for one in due_reminders(published, now(), config.lifetimes)]
    print_result({"publication": number, "ends": ends}, "\n".join(lines), as_json=as_json)
