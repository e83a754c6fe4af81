"""Trusted publishing with unmodified ``uv publish`` and twine over TLS, and an issuer that answers as GitHub's does."""

import datetime
import hashlib
import ipaddress
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from assay.cli.demo.programs import Done, Person
from client.small_distributions import build_sdist, build_wheel
from e2e.conftest import open_folder
from e2e.house import PROGRAMS, House, running_house
from support.issuer import Issuer, running_issuer

pytestmark = pytest.mark.e2e


@dataclass
class TlsHouse:
    house: House
    issuer: Issuer
    authority: Path

    def runner(self, **settings: str) -> Person:
        """A CI job: no token, but an identity."""
        return self.house.stranger(
            **self.issuer.runner,
            SSL_CERT_FILE=str(self.authority),
            REQUESTS_CA_BUNDLE=str(self.authority),
            TWINE_REPOSITORY_URL=self.house.index.upload_url,
            TWINE_USERNAME="__token__",
            UV_PUBLISH_URL=self.house.index.upload_url,
            **settings,
        )

    def ask(self, path: str, document: object = None) -> tuple[int, Any]:
        context = ssl.create_default_context(cafile=str(self.authority))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        data = json.dumps(document).encode() if document is not None else None
        try:
            with opener.open(urllib.request.Request(self.house.index.url + path, data), timeout=60) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                said = error.read()
                return error.code, json.loads(said) if said.startswith(b"{") else said.decode()

    def filenames(self, project: str) -> list[str]:
        status, page = self.ask(f"simple/{project}/index.json")
        return [file["filename"] for file in page["files"]] if status == 200 else []


def make_certificate(folder: Path) -> tuple[Path, Path, Path]:
    """A certificate for 127.0.0.1 and an authority that made it; returns its path, the chain's, the key's."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "assay test authority")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "assay test")])
    now = datetime.datetime.now(datetime.UTC)

    def begin(subject: x509.Name, public: ec.EllipticCurvePublicKey, *, ca: bool) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )

    authority = begin(ca_name, ca_key.public_key(), ca=True).sign(ca_key, hashes.SHA256())
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = begin(name, key.public_key(), ca=False).add_extension(address, critical=False).sign(ca_key, hashes.SHA256())
    paths = folder / "authority.pem", folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    paths[2].write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))
    return paths


@pytest.fixture(scope="module")
def tls() -> Iterator[TlsHouse]:
    with running_issuer() as issuer, open_folder() as folder:
        authority, certificate, key = make_certificate(folder)
        options = ("--tls-cert", str(certificate), "--tls-key", str(key))
        config = f'[oidc]\nissuers = ["{issuer.url}"]\n'
        with running_house(folder, *options, config=config) as house:
            yield TlsHouse(house, issuer, authority)


def uv_publish(person: Person, *files: Path) -> Done:
    words = ("publish", "--no-cache", "--trusted-publishing", "always", *map(str, files))
    return person.run(*PROGRAMS.uv, *words)


def twine_with_minted_token(person: Person, tls: TlsHouse, *files: Path) -> Done:
    """As the GitHub action for publishing does it: twine itself exchanges tokens with the public index alone."""
    audience = tls.ask("_/oidc/audience")[1]["audience"]
    status, minted = tls.ask("_/oidc/mint-token", {"token": tls.issuer.sign(audience)})
    assert status == 200, minted
    words = ("upload", "--non-interactive", "--disable-progress-bar", "--password", minted["token"])
    return person.run(*PROGRAMS.twine, *words, *map(str, files))


def write_both(person: Person, name: str) -> list[Path]:
    person.folder.mkdir(parents=True, exist_ok=True)
    files = {
        f"{name}-1.0-py3-none-any.whl": build_wheel(name, "1.0"),
        f"{name}-1.0.tar.gz": build_sdist(name, "1.0", build_requires=[], backend=name),
    }
    for filename, data in files.items():
        (person.folder / filename).write_bytes(data)
    return [person.folder / filename for filename in files]


def add_publisher(tls: TlsHouse, project: str, *options: str) -> None:
    words = ("--repository", "octo/demo", "--workflow", "release.yml", "--issuer", tls.issuer.url)
    done = tls.house.operator("publisher", "add", project, "GitHub", *words, *options)
    assert done.code == 0, done.said


def test_a_pending_publisher_publishes_a_new_project_with_uv(tls: TlsHouse) -> None:
    add_publisher(tls, "pendinguv", "--owner", "admin")
    job = tls.runner()
    files = write_both(job, "pendinguv")
    done = uv_publish(job, *files)
    assert done.code == 0, done.said
    assert sorted(tls.filenames("pendinguv")) == sorted(path.name for path in files)


def test_a_pending_publisher_publishes_a_new_project_with_twine(tls: TlsHouse) -> None:
    add_publisher(tls, "pendingtwine", "--owner", "admin")
    job = tls.runner()
    files = write_both(job, "pendingtwine")
    done = twine_with_minted_token(job, tls, *files)
    assert done.code == 0, done.said
    assert sorted(tls.filenames("pendingtwine")) == sorted(path.name for path in files)


def test_a_run_of_another_repository_is_told_what_is_missing(tls: TlsHouse) -> None:
    add_publisher(tls, "stranger", "--owner", "admin")
    before = dict(tls.issuer.claims)
    tls.issuer.claims["repository"] = "evil/demo"
    try:
        job = tls.runner()
        done = uv_publish(job, *write_both(job, "stranger"))
    finally:
        tls.issuer.claims = before
    assert done.code != 0
    assert "invalid-publisher" in done.said
    assert "no project has this publisher" in done.said
    assert tls.filenames("stranger") == []


def test_discovery_names_endpoints_on_this_host(tls: TlsHouse) -> None:
    key = hashlib.sha256(b"/legacy/").hexdigest()
    base = f"{tls.house.index.url}_/oidc"
    expected = {"audience-endpoint": f"{base}/audience", "mint-token-endpoint": f"{base}/mint-token"}
    assert tls.ask(f".well-known/pytp?discover={key}") == (200, expected)
    assert tls.ask(f".well-known/pytp/{key}") == (200, expected)
    assert tls.ask(f".well-known/pytp?discover={'0' * 64}")[0] == 404


def test_the_audience_is_this_indexs_own(tls: TlsHouse) -> None:
    fingerprint = tls.house.index.fingerprint.removeprefix("sha256:")
    assert tls.ask("_/oidc/audience") == (200, {"audience": f"assay-{fingerprint[:16]}"})


@pytest.mark.parametrize("document", [{}, [], "x", {"token": 5}, {"token": ""}, {"token": "x" * 40_000}])
def test_a_malformed_request_gets_the_errors_that_clients_print(tls: TlsHouse, document: object) -> None:
    status, answer = tls.ask("_/oidc/mint-token", document)
    assert 400 <= status < 500
    assert answer["message"]
    assert all(set(error) == {"code", "description"} for error in answer["errors"])


def test_a_minted_token_expires_in_fifteen_minutes_and_can_be_burned(tls: TlsHouse) -> None:
    add_publisher(tls, "burned", "--owner", "admin")
    audience = tls.ask("_/oidc/audience")[1]["audience"]
    status, minted = tls.ask("_/oidc/mint-token", {"token": tls.issuer.sign(audience)})
    assert status == 200
    left = minted["expires"] - datetime.datetime.now(datetime.UTC).timestamp()
    assert 880 < left <= 900
    assert tls.ask("_/oidc/burn-token", {"token": minted["token"]}) == (202, {})
    person = tls.house.stranger(SSL_CERT_FILE=str(tls.authority), UV_PUBLISH_URL=tls.house.index.upload_url)
    files = write_both(person, "burned")
    words = ("publish", "--no-cache", "--trusted-publishing=never", "--token", minted["token"])
    done = person.run(*PROGRAMS.uv, *words, *map(str, files))
    assert done.code != 0
    assert "revoked" in done.said
