"""``assay attest FILE``: PEP 740 attestations by an organisation's own authority."""

import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from cryptography import x509

from assay import durable
from assay.cli.output import json_option, print_result
from assay.cli.trust_root import is_encrypted
from assay.keys.attesting.ceremony import open_issuer
from assay.keys.attesting.folder import AuthorityFolder
from assay.keys.attesting.identities import find_issuer, identity_of_client
from assay.keys.attesting.issue import Wanted, issue
from assay.keys.passphrase import SecretOnce, secrets_from_environment
from assay.model.digests import Sha256
from assay.model.distributions import parse_distribution
from assay.model.errors import CallerError, NotAllowed
from assay.provenance.identities import SignerIdentity
from assay.provenance.own_root.identities import identity_of_claims
from assay.provenance.publishers import describe_publisher

MAX_PREDICATE_BYTES = 100_000
_file = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("files", nargs=-1, required=True, type=_file)
@click.option("--authority", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--oidc-token", "token", type=_file, help="A file with the identity token of whoever attests.")
@click.option("--client-certificate", "certificate", type=_file, help="Or: their client certificate (PEM).")
@click.option("--client-key", type=_file, help="With --client-certificate: its private key (PEM).")
@click.option("--slsa", "predicate", type=_file, help="Attest how the files were built: a SLSA v1 predicate (JSON).")
@json_option
def command(
    files: tuple[Path, ...],
    authority: Path,
    token: Path | None,
    certificate: Path | None,
    client_key: Path | None,
    predicate: Path | None,
    as_json: bool,
) -> None:
    """Attest FILES, on the machine of the AUTHORITY that 'assay trust-root' made; no network is needed.

    Writes FILE.publish.attestation (or .slsa.attestation) beside each, which twine --attestations and uv publish send
    along. Who may attest stands in AUTHORITY/identities.toml.
    """
    folder, now = AuthorityFolder(authority), datetime.now(UTC)
    if (token is None) == (certificate is None) or (certificate is None) != (client_key is None):
        raise CallerError("say who attests: --oidc-token, or --client-certificate with --client-key")
    build = _read_predicate(predicate) if predicate is not None else None
    wanted = [Wanted(parse_distribution(path.name).filename, _sha256(path), build) for path in files]
    encrypted = is_encrypted(folder)
    secrets = SecretOnce(secrets_from_environment(os.environ, f"the keys of {authority}"))
    issuer = open_issuer(folder, secrets, encrypted=encrypted)
    if token is not None:
        identity = _identity_of_token(folder, token, now)
    else:
        identity = identity_of_client(folder, certificate or Path(), client_key or Path(), None, now)
    rows = []
    for path, each in zip(files, wanted, strict=True):
        attestation, verified = issue(folder, issuer, identity, each, now, x509.random_serial_number)
        out = path.with_name(path.name + each.suffix)
        durable.write_file(out.absolute(), attestation)
        rows.append({"file": str(path), "attestation": str(out), "by": describe_publisher(verified.publisher)})
    print_result(
        {"attestations": rows}, "\n".join(f"{row['attestation']}  by {row['by']}" for row in rows), as_json=as_json
    )


def _identity_of_token(folder: AuthorityFolder, path: Path, now: datetime) -> SignerIdentity:
    """The holder of the identity token in the file ``path``: verified offline, and used once. Raises NotAllowed."""
    import jwt

    from assay.index.oidc.tokens import read_unverified, verify_identity_token

    unverified = read_unverified(path.read_text(encoding="utf-8").strip())
    issuer, keys, kind = find_issuer(folder, unverified.issuer)
    refusals: list[NotAllowed] = []
    for document in keys:
        if unverified.key_id is not None and document.get("kid") != unverified.key_id:
            continue
        try:
            key = jwt.PyJWK.from_dict(document)
            verified = verify_identity_token(unverified, key, issuer.issuer, issuer.audience, now)
        except jwt.PyJWTError:
            continue
        except NotAllowed as refusal:
            refusals.append(refusal)
            continue
        identity = identity_of_claims(verified.issuer, verified.claims, kind)
        folder.spend(verified.id)
        return identity
    if refusals:
        raise refusals[0]
    raise NotAllowed("no listed key of the issuer signed this token", rule="invalid-token", subject=issuer.issuer)


def _read_predicate(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(MAX_PREDICATE_BYTES + 1))
    except (OSError, ValueError) as error:
        raise CallerError("not a SLSA predicate", subject=str(path), found=str(error)) from error
    if not isinstance(document, dict):
        raise CallerError("not a SLSA predicate", subject=str(path), expected="a JSON object")
    return document


def _sha256(path: Path) -> Sha256:
    with path.open("rb") as file:
        return Sha256(hashlib.file_digest(file, "sha256").hexdigest())
