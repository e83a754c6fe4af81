"""``assay ceremony``: offline keys, from the plan to the index. docs/ceremony.md is the script for the room."""

import io
import os
from datetime import datetime
from pathlib import Path

import click
from platformdirs import user_data_path
from tuf.api.metadata import Root

from assay import durable
from assay.cli.output import json_option, print_result
from assay.keys.ceremony import assembling, collecting, drafting, signing, steps
from assay.keys.ceremony.attestation import split_pem
from assay.keys.ceremony.audit import audit as audit_stick
from assay.keys.ceremony.bulletin import bulletin_of, render_announcement, render_bulletin
from assay.keys.ceremony.current import FOLDER as CURRENT
from assay.keys.ceremony.current import Current, find_current, parse_current
from assay.keys.ceremony.differences import describe_changes
from assay.keys.ceremony.enrolment import read_enrolments
from assay.keys.ceremony.home import Home
from assay.keys.ceremony.plan import MAX_PLAN_BYTES, Plan, StartingPoint, parse_plan
from assay.keys.ceremony.publishing import publish_offline, refuse_data_folder
from assay.keys.ceremony.rehearsal import rehearse as hold_rehearsal
from assay.keys.ceremony.report import describe_progress, render_html, render_text
from assay.keys.ceremony.stick import Stick
from assay.keys.ceremony.surroundings import Surroundings, read_surroundings
from assay.keys.ceremony.words import fingerprint_words, render_words
from assay.keys.custody import create_key, custody_facts, read_public_key
from assay.keys.expiry import reminders as due_reminders
from assay.keys.expiry import render_calendar
from assay.keys.files import SCHEMES
from assay.keys.passphrase import SecretOnce, secrets_from_environment
from assay.model.digests import sha256_of
from assay.model.errors import CallerError
from assay.trust.envelope import parse_envelope
from assay.trust.layout import OFFLINE_ROLES, ROOT, Lifetimes

_PATH = click.Path(path_type=Path)
_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)

stick_option = click.option("--stick", type=_PATH, required=True, envvar="ASSAY_CEREMONY_STICK", help="The stick.")
home_option = click.option(
    "--home",
    type=_PATH,
    envvar="ASSAY_CEREMONY_HOME",
    default=lambda: user_data_path("assay") / "ceremony",
    show_default="your data folder",
    help="Your own folder: keys, and what you saw and signed.",
)
network_option = click.option(
    "--allow-network", metavar="REASON", help="This machine has a network; the reason goes into the transcript."
)
current_option = click.option(
    "--current", type=_FOLDER, help="The metadata that counts now: the index's published/tuf, or a copy of it."
)


@click.group()
def command() -> None:
    """Hold a key-signing ceremony: plan, enroll, build, show, sign, merge, verify, publish, audit.

    The ceremony travels as a folder on a stick. Each holder works on their own machine, in any order, on any day
    within the plan's window; every step can be interrupted and run again.
    """


# --- the plan --------------------------------------------------------------------------------------------------


@command.command()
@click.argument("plan_file", type=_PATH)
@click.option("--index", required=True, help="The index's name, as people know it.")
@click.option("--holders", help="Names of the holders, with commas. For a first ceremony.")
@click.option("--threshold", type=click.IntRange(1), help="How many holders must sign. For a first ceremony.")
@click.option("--observers", default="", help="Names of those who countersign, with commas.")
@click.option("--bin-bits", type=click.IntRange(1, 14), default=8, show_default=True, help="2**BITS bins.")
@click.option("--rehearsal", is_flag=True, help="For practice: production refuses it.")
@click.option("--new-key", "changing", multiple=True, metavar="NAME", help="NAME gets a new key. Repeatable.")
@current_option
@click.pass_context
def draft(
    ctx: click.Context,
    plan_file: Path,
    index: str,
    holders: str | None,
    threshold: int | None,
    observers: str,
    bin_bits: int,
    rehearsal: bool,
    changing: tuple[str, ...],
    current: Path | None,
) -> None:
    """Write a first draft of a plan to PLAN_FILE, to be edited and reviewed."""
    watchers = _split(observers)
    if current is not None:
        made = drafting.draft_next(index, _read_current(current), watchers, changing, None)
    elif holders and threshold:
        made = drafting.draft_first(index, _split(holders), threshold, watchers, bin_bits=bin_bits, rehearsal=rehearsal)
    else:
        raise CallerError("say --holders and --threshold for a first ceremony, or --current for a later one")
    _write_plan(plan_file, made, _around(ctx))


@command.command("re-root")
@click.argument("plan_file", type=_PATH)
@click.option("--index", required=True, help="The index's name, as people know it.")
@click.option("--reason", required=True, help="Why: it is published.")
@click.option("--observers", default="", help="Names of those who countersign, with commas.")
@current_option
@click.pass_context
def re_root(ctx: click.Context, plan_file: Path, index: str, reason: str, observers: str, current: Path | None) -> None:
    """Write a draft for a NEW IDENTITY, when a threshold of the root's keys is lost or stolen.

    The old root cannot vouch for the new one: no client follows by itself. 'publish' writes the bulletin that tells
    people, and each client is moved by hand with 'assay trust replace'.
    """
    if current is None:
        raise CallerError("say --current: the metadata that the new identity replaces")
    made = drafting.draft_next(index, _read_current(current), _split(observers), (), reason)
    _write_plan(plan_file, made, _around(ctx))


@command.command()
@click.argument("plan_file", type=_FILE)
@stick_option
@current_option
@click.pass_context
def plan(ctx: click.Context, plan_file: Path, stick: Path, current: Path | None) -> None:
    """Check PLAN_FILE and begin the ceremony on an empty stick."""
    data = _read_plan_file(plan_file)
    parse_plan(data)
    found = find_current(current) if current else {}
    begun = steps.begin(Stick.create(stick), data, found, _around(ctx))
    click.echo(_describe_plan(begun))


@command.command()
@click.argument("plan_file", type=_FILE)
@click.option("--into", type=_PATH, required=True, help="A new folder for the rehearsal's homes, stick and data.")
@click.pass_context
def rehearse(ctx: click.Context, plan_file: Path, into: Path) -> None:
    """Practise PLAN_FILE on this machine alone: software keys, every step, all of it worthless afterwards."""
    found = hold_rehearsal(parse_plan(_read_plan_file(plan_file)), into, _around(ctx), click.echo)
    click.echo(f"the rehearsal holds together: {len(found.entries)} entries; {_points(found.open_points)}")


# --- the people ------------------------------------------------------------------------------------------------


@command.command()
@stick_option
@home_option
@click.option("--name", required=True, help="Your name in the plan.")
@click.option("--key", "uri", metavar="URI", help="keyfile:PATH, hsm:N?label=L, or a key service. Default: a file.")
@click.option("--create", type=click.Choice(list(SCHEMES)), help="Make the key there first.")
@click.option("--attestation", type=_FILE, help="The token maker's certificates for this key (PEM, its own first).")
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
    confirm = create is not None and in_file
    secrets = SecretOnce(secrets_from_environment(os.environ, f"the key of {name}", confirm=confirm))
    key = create_key(where, SCHEMES[create], secrets) if create else read_public_key(where, secrets)
    chain = split_pem(attestation.read_text(encoding="ascii")) if attestation else ()
    new = steps.NewKey(where, key, custody_facts(where, secrets), chain)
    made = steps.enrol(Stick.open(stick), Home(home), name, new, _around(ctx), secrets, allow_network)
    click.echo(f"{name} is enrolled with {made.key.scheme}, key {made.key.keyid}")
    if made.attestation is not None:
        click.echo(f"attested by {made.attestation.authority} (sha256 {made.attestation.authority_sha256})")


@command.command()
@stick_option
@click.pass_context
def build(ctx: click.Context, stick: Path) -> None:
    """Make what will be signed, once everybody has enrolled."""
    case = steps.build_payloads(Stick.open(stick), _around(ctx))
    click.echo(_describe_case(case, _around(ctx).now))


@command.command()
@stick_option
@home_option
@click.option("--qr", is_flag=True, help="The fingerprint as a QR code, too.")
@json_option
@click.pass_context
def show(ctx: click.Context, stick: Path, home: Path, qr: bool, as_json: bool) -> None:
    """Say in plain words what you are asked to sign, and its fingerprint. On your own machine."""
    around = _around(ctx)
    case = signing.show(Stick.open(stick), Home(home), around)
    changes = describe_changes(case, around.now)
    words = " ".join(fingerprint_words(case.fingerprint))
    result = {"plan": case.plan.sha256, "fingerprint": case.fingerprint, "words": words, "changes": changes}
    text = f"this machine's clock: {around.now:%Y-%m-%d %H:%M} UTC\n{_describe_case(case, around.now)}"
    print_result(
        result, text + (f"\n{_qr_code(f'assay-ceremony:sha256:{case.fingerprint}')}" if qr else ""), as_json=as_json
    )


@command.command()
@stick_option
@home_option
@network_option
@click.pass_context
def sign(ctx: click.Context, stick: Path, home: Path, allow_network: str | None) -> None:
    """Sign what was shown. You type the words as the room reads them aloud, not as any screen shows them."""
    refuse_data_folder(home / "home.json")
    typed = click.prompt("The words, as they are read aloud", prompt_suffix=":\n")
    secrets = SecretOnce(secrets_from_environment(os.environ, "your key"))
    opened = Stick.open(stick)
    written = signing.sign(opened, Home(home), _around(ctx), secrets, typed, allow_network)
    click.echo("\n".join(f"signed {name}" for name in written) or "you have signed everything already")


@command.command()
@stick_option
@click.argument("copy", type=_FOLDER)
@click.pass_context
def collect(ctx: click.Context, stick: Path, copy: Path) -> None:
    """Take home what was enrolled and signed on COPY, a copy of the stick that was in another room."""
    branch = collecting.collect(Stick.open(stick), Stick.open(copy), _around(ctx))
    click.echo(f"{len(branch.entries)} steps of the copy, after entry {branch.forked_after.number}")


@command.command()
@stick_option
@click.pass_context
def merge(ctx: click.Context, stick: Path) -> None:
    """Put the signatures together; while some are lacking, say whose."""
    state = assembling.merge(Stick.open(stick), _around(ctx))
    click.echo("\n".join(describe_progress(one) for one in state))


@command.command()
@stick_option
@json_option
@click.pass_context
def verify(ctx: click.Context, stick: Path, as_json: bool) -> None:
    """Check the result as a client will: by the new keys and by the previous root's."""
    bundle = assembling.verify(Stick.open(stick), _around(ctx).now)
    result = {"versions": dict(bundle.versions), "root_sha256": bundle.root_sha256}
    lines = [f"{role} version {version} is signed by enough" for role, version in bundle.versions.items()]
    print_result(result, "\n".join([*lines, f"root sha256:{bundle.root_sha256}"]), as_json=as_json)


@command.command()
@stick_option
@click.argument("text")
@click.option("--witness", required=True, help="Who notes it.")
@click.pass_context
def note(ctx: click.Context, stick: Path, text: str, witness: str) -> None:
    """Note TEXT, something that went otherwise than the script says, in the transcript."""
    entry = steps.note(Stick.open(stick), _around(ctx), witness, text)
    click.echo(f"noted as entry {entry.number}")


@command.command()
@stick_option
@home_option
@click.pass_context
def countersign(ctx: click.Context, stick: Path, home: Path) -> None:
    """Seal all that happened so far with your key: this is what happened, and I was there."""
    secrets = SecretOnce(secrets_from_environment(os.environ, "your key"))
    entry = steps.countersign(Stick.open(stick), Home(home), _around(ctx), secrets)
    click.echo(f"countersigned up to {entry.facts['up_to']}")


# --- the index -------------------------------------------------------------------------------------------------


@command.command()
@stick_option
@click.option("--data", type=_PATH, required=True, help="The index's data folder.")
@click.option("--bulletin", type=_PATH, help="For a re-root: write the bulletin here (.json beside a .txt).")
@click.pass_context
def publish(ctx: click.Context, stick: Path, data: Path, bulletin: Path | None) -> None:
    """Hand the result to the index. Only what verifies is handed over."""
    around = _around(ctx)
    bundle = assembling.verify(Stick.open(stick), around.now)
    if bundle.plan.replaces is not None:
        if bulletin is None:
            raise CallerError("a new identity needs its bulletin: say --bulletin")
        told = bulletin_of(bundle, around.now)
        durable.write_file(bulletin.absolute().with_suffix(".json"), render_bulletin(told))
        durable.write_file(bulletin.absolute().with_suffix(".txt"), render_announcement(told).encode())
    handover = publish_offline(bundle, data.absolute())
    click.echo("\n".join(handover.files))
    if handover.waits:
        click.echo("the signer takes them with its next publication")
    if ROOT in bundle.files:
        click.echo(f"root sha256:{bundle.root_sha256}")


@command.command()
@stick_option
@click.option("--html", type=_PATH, help="Write the report as an HTML page.")
@click.option("--text", "text_file", type=_PATH, help="Write the report as text.")
@json_option
@click.pass_context
def audit(ctx: click.Context, stick: Path, html: Path | None, text_file: Path | None, as_json: bool) -> None:
    """Check the transcript and everything that it speaks of; any edited line is found."""
    found = audit_stick(Stick.open(stick))
    now = _around(ctx).now
    if html is not None:
        durable.write_file(html.absolute(), render_html(found, now).encode())
    if text_file is not None:
        durable.write_file(text_file.absolute(), render_text(found, now).encode())
    result = {
        "entries": len(found.entries),
        "complete": found.complete,
        "open_points": list(found.open_points),
        "sealed_up_to": dict(found.sealed_up_to),
        "last_entry_sha256": found.entries[-1].sha256,
    }
    lines = [f"the transcript holds: {len(found.entries)} entries, the last is sha256:{found.entries[-1].sha256}"]
    lines += [f"{name}'s seal covers entries 1 to {number}" for name, number in found.sealed_up_to.items()]
    print_result(result, "\n".join([*lines, _points(found.open_points)]), as_json=as_json)


@command.command()
@stick_option
def status(stick: Path) -> None:
    """Say where the ceremony stands and what comes next."""
    opened = Stick.open(stick)
    found = signing.read_plan(opened)
    enrolled = read_enrolments(opened, found)
    click.echo(_describe_plan(found))
    missing = [name for name in found.enrol if name not in enrolled]
    if missing:
        click.echo(f"next: assay ceremony enroll, on the machines of {', '.join(missing)}")
    elif not opened.names(signing.PAYLOADS):
        click.echo("next: assay ceremony build")
    else:
        state = assembling.progress(opened, signing.open_case(opened))
        click.echo("\n".join(describe_progress(one) for one in state))
        ready = all(one.complete for one in state)
        merged = bool(opened.names(assembling.MERGED))
        click.echo(f"next: assay ceremony {'verify, publish, audit' if merged else 'merge' if ready else 'show, sign'}")


@command.command()
@click.option("--index", default="this index", show_default=True, help="The index's name, for the calendar.")
@current_option
@click.option("--calendar", type=_PATH, help="Write an iCalendar file with alarms.")
@json_option
@click.pass_context
def reminders(ctx: click.Context, index: str, current: Path | None, calendar: Path | None, as_json: bool) -> None:
    """Say which offline signatures end soon: at 90, 30 and 7 days."""
    if current is None:
        raise CallerError("say --current: the metadata that counts now")
    found = _read_current(current)
    lives = Lifetimes()
    expiries = {role: found.role(role).expires for role in OFFLINE_ROLES}
    lifetimes = {"root": lives.root, "targets": lives.targets, "bins": lives.bins}
    now = _around(ctx).now
    due = due_reminders(expiries, lifetimes, now)
    if calendar is not None:
        durable.write_file(calendar.absolute(), render_calendar(index, expiries, lifetimes, now))
    result = {"due": [{"role": one.role, "expires": one.expires, "days_left": one.days_left} for one in due]}
    print_result(result, "\n".join(map(str, due)) or "nothing is due", as_json=as_json)


# --- what they share -------------------------------------------------------------------------------------------


def _around(ctx: click.Context) -> Surroundings:
    """This machine now; a program that embeds this command may give its own as the context's object."""
    return ctx.find_object(Surroundings) or read_surroundings()


def _split(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip())


def _read_plan_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_PLAN_BYTES + 1)


def _read_current(folder: Path) -> Current:
    """The newest metadata of a folder; its root is taken as it is, for a draft that people review."""
    files = find_current(folder)
    data = files[f"{CURRENT}{ROOT}.json"]
    start = StartingPoint(parse_envelope(data, Root, ROOT).signed.version, sha256_of(data))
    return parse_current(files, start)


def _write_plan(path: Path, made: drafting.Draft, around: Surroundings) -> None:
    if path.exists():
        raise CallerError("the file exists; a plan is not overwritten", subject=str(path))
    text = drafting.render_draft(made, around.now).encode()
    parse_plan(text)
    durable.write_file(path.absolute(), text)
    click.echo(f"wrote {path}: edit it, have it reviewed, then: assay ceremony plan {path} --stick STICK")


def _describe_plan(plan: Plan) -> str:
    kind = "REHEARSAL" if plan.rehearsal else "ceremony"
    return (
        f"{kind} for {plan.index}: {plan.purpose}\nplan sha256:{plan.sha256}\n"
        f"open from {plan.opens:%Y-%m-%d %H:%M} to {plan.closes:%Y-%m-%d %H:%M} UTC; "
        f"signs {', '.join(plan.sign)}; {len(plan.enrol)} new keys"
    )


def _describe_case(case: signing.Case, now: datetime) -> str:
    lines = [*describe_changes(case, now), "", "The fingerprint, as words to be read aloud:"]
    return "\n".join([*lines, render_words(fingerprint_words(case.fingerprint)), f"sha256:{case.fingerprint}"])


def _points(points: tuple[str, ...]) -> str:
    return "open: " + "; ".join(points) if points else "nothing is open"


def _qr_code(text: str) -> str:
    try:
        import segno
    except ImportError:
        return "(no QR code: pip install segno)"
    out = io.StringIO()
    segno.make(text, error="m").terminal(out, compact=True)
    return out.getvalue()
