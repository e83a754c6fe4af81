"""``assay certificate``: the OpenPGP certificates that a project's files are signed with."""

from pathlib import Path
from typing import Any

import click

from assay.cli.desk import ACTOR, data_option, ledger_of, now, settle
from assay.cli.output import json_option, print_result
from assay.index.config import DataFolder
from assay.index.provenance.approvals import Approvals
from assay.index.provenance.changes import AddCertificate, EndCertificate, RevokeCertificate, SignerChange
from assay.index.provenance.offices import SignersOffice
from assay.index.published import PublishedStore
from assay.model.names import ProjectName, parse_project_name
from assay.model.signers import RegisteredCertificate
from assay.provenance.openpgp import parse_certificate, parse_fingerprint

_file = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group()
def command() -> None:
    """Register and revoke the OpenPGP certificates of a project, which every client gets and checks."""


@command.command()
@click.argument("project")
@click.argument("file", type=_file)
@click.option("--optional", is_flag=True, help="Accept uploads without a signature, too.")
@data_option
@json_option
def add(project: str, file: Path, optional: bool, data: Path, as_json: bool) -> None:
    """Expect the files of PROJECT to be signed with the certificate in FILE, or renew it.

    FILE is what gpg --armor --export FINGERPRINT writes. A certificate that is registered already is merged with FILE,
    so that a new expiry or a revocation in it reaches every client.
    """
    name, exported = parse_project_name(project), file.read_bytes()
    certificate = parse_certificate(exported)
    _change(AddCertificate(name, exported, optional), certificate.fingerprint, data, as_json=as_json)


@command.command()
@click.argument("project")
@click.argument("fingerprint")
@click.argument("revocation", type=_file)
@data_option
@json_option
def revoke(project: str, fingerprint: str, revocation: Path, data: Path, as_json: bool) -> None:
    """Apply the revocation in the file REVOCATION, such as gpg keeps in openpgp-revocs.d for every key it makes."""
    found = parse_fingerprint(fingerprint)
    change = RevokeCertificate(parse_project_name(project), found, _uncommented(revocation.read_bytes()))
    _change(change, found, data, as_json=as_json)


@command.command()
@click.argument("project")
@click.argument("fingerprint")
@click.option("--distrust", is_flag=True, help="Refuse what it signed before, too: the key was stolen.")
@data_option
@json_option
def end(project: str, fingerprint: str, distrust: bool, data: Path, as_json: bool) -> None:
    """Expect no more signatures by FINGERPRINT; what it signed until now keeps counting."""
    found = parse_fingerprint(fingerprint)
    _change(EndCertificate(parse_project_name(project), found, distrust), found, data, as_json=as_json)


@command.command("list")
@click.argument("project")
@data_option
@json_option
def list_(project: str, data: Path, as_json: bool) -> None:
    """List every certificate that PROJECT ever had, as published."""
    name, office = parse_project_name(project), _office(data)
    rows = [_row(office, name, entry) for entry in office.signers(name).certificates]
    text = "\n".join(f"{row['fingerprint']}  {row['state']}  {', '.join(row['user_ids'])}" for row in rows)
    print_result({"project": name, "certificates": rows}, text, as_json=as_json)


def _row(office: SignersOffice, project: ProjectName, entry: RegisteredCertificate) -> dict[str, Any]:
    certificate = office.certificate(project, entry)
    if entry.term.distrusted:
        state = "distrusted"
    elif certificate.revocation is not None:
        state = f"revoked: {certificate.revocation.reason}"
    elif entry.term.until is not None:
        state = f"ended {entry.term.until:%Y-%m-%d}"
    else:
        state = "optional" if entry.term.optional else "required"
    return {
        "fingerprint": entry.fingerprint,
        "state": state,
        "since": entry.term.since,
        "until": entry.term.until,
        "expires": certificate.expires,
        "user_ids": list(certificate.user_ids),
    }


def _change(change: SignerChange, fingerprint: str, data: Path, *, as_json: bool) -> None:
    with ledger_of(data, write=True) as connection:
        seq = _office(data).propose(connection, change, ACTOR, now())
    state = settle(data, [seq])
    result = {"project": change.project, "fingerprint": fingerprint, "state": state}
    print_result(result, f"{change.project}: certificate {fingerprint}: {state}", as_json=as_json)


def _office(data: Path) -> SignersOffice:
    folder = DataFolder(data.resolve())
    return SignersOffice(PublishedStore(folder.published), Approvals(folder.inbox))


def _uncommented(revocation: bytes) -> bytes:
    """The armored block alone: gpg puts words around it, and a colon before it, so that nobody imports it by chance."""
    lines = revocation.split(b"\n")
    armored = [line.removeprefix(b":") for line in lines]
    begin = next((at for at, line in enumerate(armored) if line.startswith(b"-----BEGIN PGP")), 0)
    return b"\n".join(armored[begin:])
