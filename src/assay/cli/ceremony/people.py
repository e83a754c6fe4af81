"""What each person does on their own machine: enrol, look, sign, note, countersign."""

import io
import os
from pathlib import Path

import click

from assay.cli.ceremony.options import FILE, around, describe_case, home_option, network_option, stick_option
from assay.cli.output import describe, json_option, print_result
from assay.keys.ceremony import signing, steps
from assay.keys.ceremony.attestation import split_pem
from assay.keys.ceremony.differences import describe_changes
from assay.keys.ceremony.home import Home
from assay.keys.ceremony.publishing import refuse_data_folder
from assay.keys.ceremony.stick import Stick
from assay.keys.ceremony.words import WORD_COUNT, fingerprint_words, parse_words
from assay.keys.custody import create_key, custody_facts, read_public_key
from assay.keys.files import SCHEMES
from assay.keys.passphrase import SecretOnce, SecretsProvider, secrets_from_environment
from assay.model.errors import CallerError

WORDS_A_LINE = 5


@click.command()
@stick_option
@home_option
@click.option("--name", required=True, help="Your name in the plan.")
@click.option("--key", "uri", metavar="URI", help="keyfile:PATH, hsm:N?label=L, or a key service. Default: a file.")
@click.option("--create", type=click.Choice(list(SCHEMES)), help="Make the key there first.")
@click.option("--attestation", type=FILE, help="The token maker's certificates for this key (PEM, its own first).")
@network_option
@click.pass_context
def enroll(
    ctx: click.Context,
    stick: Path,
    home: Path,
    name: str,
    uri: str | None,
    create: str | None,
    attestation: Path | None,
    allow_network: str | None,
) -> None:
    """Bring your key: prove that you have it, and put its public half on the stick. On your own machine."""
    where = uri or f"keyfile:{home.absolute() / f'{name}.pem'}"
    in_file = where.startswith(("keyfile:", "file2:"))
    for path in (home / "home.json", *([Path(where.partition(":")[2])] if in_file else [])):
        refuse_data_folder(path)
    opened, here = Stick.open(stick), around(ctx)
    steps.require_place(opened, name, here, allow_network)
    if in_file and create is None and not Path(where.partition(":")[2]).exists():
        raise CallerError(
            "there is no such key file yet", subject=where, next_step="--create ed25519 makes it; --key names another"
        )
    secrets = _secrets_of(where, confirm=create is not None and in_file)
    key = create_key(where, SCHEMES[create], secrets) if create else read_public_key(where, secrets)
    chain = split_pem(attestation.read_text(encoding="ascii")) if attestation else ()
    new = steps.NewKey(where, key, custody_facts(where, secrets), chain)
    made = steps.enrol(opened, Home(home), name, new, here, secrets, allow_network)
    click.echo(f"{name} is enrolled with {made.key.scheme}, key {made.key.keyid}")
    if made.attestation is not None:
        click.echo(f"attested by {made.attestation.authority} (sha256 {made.attestation.authority_sha256})")


@click.command()
@stick_option
@home_option
@click.option("--qr", is_flag=True, help="The fingerprint as a QR code, too.")
@json_option
@click.pass_context
def show(ctx: click.Context, stick: Path, home: Path, qr: bool, as_json: bool) -> None:
    """Say in plain words what you are asked to sign, and its fingerprint. On your own machine."""
    here = around(ctx)
    case = signing.show(Stick.open(stick), Home(home), here)
    changes = describe_changes(case, here.now)
    words = " ".join(fingerprint_words(case.fingerprint))
    result = {"plan": case.plan.sha256, "fingerprint": case.fingerprint, "words": words, "changes": changes}
    text = f"this machine's clock: {here.now:%Y-%m-%d %H:%M} UTC\n{describe_case(case, here.now)}"
    print_result(
        result, text + (f"\n{_qr_code(f'assay-ceremony:sha256:{case.fingerprint}')}" if qr else ""), as_json=as_json
    )


@click.command()
@stick_option
@home_option
@network_option
@click.pass_context
def sign(ctx: click.Context, stick: Path, home: Path, allow_network: str | None) -> None:
    """Sign what was shown. You type the words as the room reads them aloud, not as any screen shows them."""
    refuse_data_folder(home / "home.json")
    written = signing.sign(Stick.open(stick), Home(home), around(ctx), _secrets_of, _ask_words, allow_network)
    signed = dict.fromkeys(name.split("/")[1] for name in written)
    click.echo(f"signed {', '.join(signed)}: pass the stick on" if signed else "you have signed everything already")


@click.command()
@stick_option
@click.argument("text")
@click.option("--witness", required=True, help="Who notes it.")
@click.pass_context
def note(ctx: click.Context, stick: Path, text: str, witness: str) -> None:
    """Note TEXT, something that went otherwise than the script says, in the transcript."""
    entry = steps.note(Stick.open(stick), around(ctx), witness, text)
    click.echo(f"noted as entry {entry.number}")


@click.command()
@stick_option
@home_option
@click.pass_context
def countersign(ctx: click.Context, stick: Path, home: Path) -> None:
    """Seal all that happened so far with your key: this is what happened, and I was there."""
    entry = steps.countersign(Stick.open(stick), Home(home), around(ctx), _secrets_of)
    click.echo(f"countersigned up to entry {entry.facts['up_to']}")


def _secrets_of(uri: str, *, confirm: bool = False) -> SecretsProvider:
    """Asks once for the PIN or passphrase of the key at ``uri``, and says which key that is."""
    return SecretOnce(secrets_from_environment(os.environ, uri, confirm=confirm))


def _ask_words() -> str:
    """The words, a line at a time as they are read; a slip is said at once, and only its line is typed again."""
    click.echo("Type the words as they are read aloud; four letters of each are enough.")
    entered: list[str] = []
    while len(entered) < WORD_COUNT:
        last = min(WORD_COUNT, (len(entered) // WORDS_A_LINE + 1) * WORDS_A_LINE)
        try:
            words = parse_words(click.prompt(f"words {len(entered) + 1} to {last}"))
        except CallerError as slip:
            click.echo(describe(slip), err=True)
            continue
        entered += words
    return " ".join(entered)


def _qr_code(text: str) -> str:
    try:
        import segno
    except ImportError:
        return "(no QR code: pip install segno)"
    out = io.StringIO()
    segno.make(text, error="m").terminal(out, compact=True)
    return out.getvalue()
