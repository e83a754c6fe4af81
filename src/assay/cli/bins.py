"""``assay bins``: into how many signed parts the index divides what it vouches for (docs/scale.md)."""

import os
from collections.abc import Sequence
from pathlib import Path

import click
from securesystemslib.signer import Key, Signer

from assay import durable
from assay.cli.desk import data_option, now
from assay.cli.output import json_option, print_result
from assay.index.config import DataFolder
from assay.index.handover import read_published
from assay.index.ledger import Ledger
from assay.index.ledger.publications import count_targets
from assay.keys.custody import open_signer, sign_bytes
from assay.keys.offline_draft import key_uri
from assay.keys.passphrase import secrets_from_environment
from assay.model.errors import CallerError, KeyUnavailable
from assay.trust import canonical
from assay.trust.envelope import assemble
from assay.trust.layout import BINS, Lifetimes, metadata_filename
from assay.trust.plan import MAX_BIN_BITS, bin_bits_for, plan_bins, succinct_roles


@click.group(invoke_without_command=True)
@data_option
@json_option
@click.pass_context
def command(context: click.Context, data: Path, as_json: bool) -> None:
    """How many bins there are, and how many an index of this size wants. `set` changes it."""
    if context.invoked_subcommand is not None:
        return
    folder = DataFolder(data.resolve())
    bits = succinct_roles(read_published(folder).bins()).bit_length
    ledger = Ledger.open(folder.ledger_file)
    try:
        with ledger.read() as connection:
            targets = count_targets(connection)
    finally:
        ledger.close()
    wanted = bin_bits_for(targets)
    result = {"bits": bits, "bins": 1 << bits, "targets": targets, "wanted_bits": wanted}
    advice = f"; assay bins set {wanted} would fit" if wanted > bits else ""
    said = f"{1 << bits} bins of {bits} bits, {targets} targets, {targets >> bits} in each{advice}"
    print_result(result, said, as_json=as_json)


@command.command("set")
@click.argument("bits", type=click.IntRange(1, MAX_BIN_BITS))
@click.option("--key", required=True, metavar="FILE|URI", help="The offline key of bins.")
@data_option
def set_(bits: int, key: str, data: Path) -> None:
    """Divide everything into 2**BITS bins: one signature of the offline key; the signer does the rest when it runs.

    Where several holders sign for bins, change bin_bits in the plan of a ceremony instead.
    """
    folder = DataFolder(data.resolve())
    state = read_published(folder)
    delegated = state.targets().get_delegated_role(BINS)
    if delegated.threshold != 1:
        raise CallerError("several holders sign for bins", rule="bins-threshold", next_step="assay ceremony plan")
    before = state.bins()
    online = before.delegations.keys.values() if before.delegations else ()
    succinct = succinct_roles(before)
    role = plan_bins(online, succinct.threshold, bits, before.version + 1, now() + Lifetimes().bins)
    holders = state.targets().delegations
    signer = _holder([holders.keys[keyid] for keyid in delegated.keyids] if holders else [], key)
    document = role.to_dict()
    file = assemble(document, [sign_bytes(signer, canonical.encode(document))])
    durable.write_file(folder.inbox / metadata_filename(BINS, role.version), file)
    click.echo(f"{1 << succinct.bit_length} bins become {1 << bits}: signed, and in the inbox of the index")


def _holder(holders: Sequence[Key], key: str) -> Signer:
    """The signer at ``key`` as one of ``holders``. Raises KeyUnavailable."""
    uri = key_uri(key)
    for holder in holders:
        try:
            return open_signer(uri, holder, secrets_from_environment(os.environ, key))
        except KeyUnavailable as error:
            if error.rule != "key-mismatch":
                raise
    raise KeyUnavailable("targets names no such key for bins", subject=uri, rule="key-not-a-holder")
