"""An organisation's own root from its ceremony to pip: assay trust-root, assay attest, unmodified twine and uv."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from jwt.algorithms import ECAlgorithm
from sigstore.models import TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import Identity

from assay.cli.demo.programs import ASSAY, Done, Person
from assay.provenance.attestation_format import parse_attestation
from assay.provenance.attestations import render_bundle
from client.small_distributions import build_sdist, build_wheel
from e2e.conftest import open_folder
from e2e.house import PROGRAMS, House

pytestmark = pytest.mark.e2e

LOGIN = "https://login.example.org"
SERVER = "https://git.example.org"
PIPELINE = {
    "project_path": "org/tool",
    "project_id": 7,
    "namespace_path": "org",
    "namespace_id": "3",
    "ci_config_ref_uri": "git.example.org/org/tool//.gitlab-ci.yml@refs/tags/v1",
    "ref": "v1",
    "ref_type": "tag",
    "sha": "0" * 40,
    "job_id": "99",
}


@dataclass
class Office:
    """Where the organisation's attestations are issued: an authority's folder, and the issuers it believes."""

    folder: Path
    person: Person
    key: ec.EllipticCurvePrivateKey
    serial: int = 0

    @property
    def authority(self) -> Path:
        return self.folder / "authority"

    @property
    def trusted_root(self) -> Path:
        return self.authority / "trusted_root.json"

    def token(self, issuer: str, **claims: object) -> Path:
        """An identity token in a file."""
        self.serial += 1
        now = datetime.now(UTC)
        facts = {"iss": issuer, "aud": "attest", "iat": now, "exp": now + timedelta(minutes=5), "jti": str(self.serial)}
        path = self.folder / f"token-{self.serial}"
        path.write_text(jwt.encode(facts | claims, self.key, algorithm="ES256", headers={"kid": "one"}))
        return path

    def attest(self, *words: str | Path) -> Done:
        return self.person.run(*ASSAY, "attest", "--authority", str(self.authority), *map(str, words))


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    with open_folder() as folder:
        made = Office(folder, Person(folder / "officer", folder), ec.generate_private_key(ec.SECP256R1()))
        words = ("--organization", "Example", "--url", "https://attest.example.org", "--insecure-dev-keys")
        done = made.person.run(*ASSAY, "trust-root", "init", str(made.authority), *words)
        assert done.code == 0, done.said
        jwk = {**ECAlgorithm.to_jwk(made.key.public_key(), as_dict=True), "kid": "one", "alg": "ES256"}
        (made.authority / "keys.json").write_text(json.dumps({"keys": [jwk]}))
        authority, certificate, key = client_certificate("bob@example.org")
        (made.authority / "clients.pem").write_bytes(authority)
        (folder / "bob.pem").write_bytes(certificate)
        (folder / "bob.key").write_bytes(key)
        issuers = "".join(
            f'[[oidc]]\nissuer = "{issuer}"\nkeys = "keys.json"\naudience = "attest"\nkind = "{kind}"\n'
            for issuer, kind in ((LOGIN, "email"), (SERVER, "gitlab"))
        )
        clients = f'[[client_certificates]]\nauthority = "clients.pem"\nissuer = "{LOGIN}/clients"\n'
        (made.authority / "identities.toml").write_text(issuers + clients)
        yield made


def client_certificate(email: str) -> tuple[bytes, bytes, bytes]:
    """PEM of an authority, of a client's certificate and of its key."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "clients of Example")])

    def builder(public: ec.EllipticCurvePublicKey, subject: x509.Name) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(name).public_key(public)
        made = made.serial_number(x509.random_serial_number())
        return made.not_valid_before(now - timedelta(minutes=1)).not_valid_after(now + timedelta(days=1))

    authority = builder(authority_key.public_key(), name).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    client = builder(key.public_key(), x509.Name([])).add_extension(
        x509.SubjectAlternativeName([x509.RFC822Name(email)]), critical=True
    )
    client = client.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    pem = serialization.Encoding.PEM
    return (
        authority.sign(authority_key, hashes.SHA256()).public_bytes(pem),
        client.sign(authority_key, hashes.SHA256()).public_bytes(pem),
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def distributions(folder: Path, project: str) -> tuple[Path, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    wheel, sdist = folder / f"{project}-1.0-py3-none-any.whl", folder / f"{project}-1.0.tar.gz"
    wheel.write_bytes(build_wheel(project, "1.0"))
    sdist.write_bytes(build_sdist(project, "1.0", build_requires=["flit_core"], backend="flit_core.buildapi"))
    return wheel, sdist


def register(house: House, office: Office, project: str) -> None:
    assert house.operator("project", "create", project, "--owner", "admin").code == 0
    words = ("--gitlab", "org/tool", "--server", SERVER, "--owner-id", "3", "--trust-root", str(office.trusted_root))
    done = house.operator("attester", "add", project, *words)
    assert done.code == 0, done.said


def pipeline_token(office: Office) -> Path:
    return office.token(SERVER, **PIPELINE)


def test_twine_sends_attestations_and_pip_gets_a_verified_file(house: House, office: Office) -> None:
    register(house, office, "tooled")
    wheel, sdist = distributions(house.folder / "tooled", "tooled")
    developer, user = house.developer(), house.user()
    upload = (*PROGRAMS.twine, "upload", "--non-interactive")
    bare = developer.run(*upload, str(wheel))
    assert bare.code != 0
    assert "must be attested" in bare.said
    done = office.attest("--oidc-token", pipeline_token(office), wheel, sdist)
    assert done.code == 0, done.said
    beside = [str(path.with_name(f"{path.name}.publish.attestation")) for path in (wheel, sdist)]
    sent = developer.run(*upload, "--attestations", str(wheel), str(sdist), *beside)
    assert sent.code == 0, sent.said
    installed = user.run(*ASSAY, "run", "--", *PROGRAMS.pip, "install", "--target", "there", "tooled")
    assert installed.code == 0, installed.said
    told = user.run(*ASSAY, "explain", "tooled")
    assert "attested   by GitLab pipeline .gitlab-ci.yml of org/tool" in told.said
    assert "verified here just now against the own root of tooled" in told.said
    verified = user.run(*ASSAY, "log", "verify")
    assert verified.code == 0, verified.said


def test_uv_sends_attestations_that_lie_beside_the_file(house: House, office: Office) -> None:
    register(house, office, "uvved")
    wheel, sdist = distributions(house.folder / "uvved", "uvved")
    done = office.attest("--oidc-token", pipeline_token(office), wheel, sdist)
    assert done.code == 0, done.said
    sent = house.developer().run(*PROGRAMS.uv, "publish", str(wheel.parent / "*"))
    assert sent.code == 0, sent.said
    page = house.page("uvved")
    assert page is not None
    assert page["files"][0]["_provenance"]["by"] == [f"GitLab pipeline .gitlab-ci.yml of org/tool on {SERVER}"]
    install = (*ASSAY, "run", "--", *PROGRAMS.uv, "pip", "install", "--target", "there", "uvved")
    assert house.user().run(*install).code == 0


def test_attestations_of_somebody_else_are_refused_by_twine_word_for_word(house: House, office: Office) -> None:
    register(house, office, "strict")
    wheel, _sdist = distributions(house.folder / "strict", "strict")
    alice = office.token(LOGIN, email="alice@example.org", email_verified=True)
    assert office.attest("--oidc-token", alice, wheel).code == 0
    beside = str(wheel.with_name(f"{wheel.name}.publish.attestation"))
    words = (*PROGRAMS.twine, "upload", "--non-interactive", "--attestations", str(wheel), beside)
    sent = house.developer().run(*words)
    assert sent.code != 0
    assert "identity of another provider" in sent.said
    assert house.page("strict") is None or house.page("strict")["files"] == []  # type: ignore[index]


def test_a_client_certificate_attests_and_stock_sigstore_verifies(office: Office, tmp_path: Path) -> None:
    wheel, _sdist = distributions(tmp_path, "stock")
    words = ("--client-certificate", office.folder / "bob.pem", "--client-key", office.folder / "bob.key")
    done = office.attest(*words, wheel)
    assert done.code == 0, done.said
    assert f"bob@example.org (by {LOGIN}/clients)" in done.said
    attestation = wheel.with_name(f"{wheel.name}.publish.attestation").read_bytes()
    bundle = tmp_path / "bundle.json"
    bundle.write_bytes(render_bundle(parse_attestation(attestation)))
    from sigstore.models import Bundle

    verifier = Verifier(trusted_root=TrustedRoot.from_file(str(office.trusted_root)))
    policy = Identity(identity="bob@example.org", issuer=f"{LOGIN}/clients")
    _type, payload = verifier.verify_dsse(Bundle.from_json(bundle.read_bytes()), policy)
    assert json.loads(payload)["subject"][0]["name"] == wheel.name


@pytest.mark.parametrize(
    ("issuer", "claims", "reason"),
    [
        (LOGIN, {"email": "alice@example.org"}, "has not verified this e-mail address"),
        (LOGIN, {"email": "alice@example.org", "email_verified": True, "aud": "upload"}, "meant for somebody else"),
        ("https://evil.example.org", {"sub": "x"}, "count for nothing here"),
        (SERVER, {**PIPELINE, "project_id": None}, "no sound claim 'project_id'"),
        (SERVER, {**PIPELINE, "exp": 1_700_000_000, "iat": 1_699_999_000}, "expired"),
    ],
)
def test_tokens_that_prove_nothing_buy_no_attestation(
    office: Office, tmp_path: Path, issuer: str, claims: dict[str, object], reason: str
) -> None:
    wheel, _sdist = distributions(tmp_path, "nothing")
    done = office.attest("--oidc-token", office.token(issuer, **claims), wheel)
    assert done.code == 2, done.said
    assert reason in done.said
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".attestation")] == []


def test_B17_an_identity_token_attests_once(office: Office, tmp_path: Path) -> None:
    wheel, sdist = distributions(tmp_path, "once")
    token = pipeline_token(office)
    assert office.attest("--oidc-token", token, wheel).code == 0
    again = office.attest("--oidc-token", token, sdist)
    assert again.code == 2
    assert "used before" in again.said


def test_a_certificate_without_its_key_attests_nothing(office: Office, tmp_path: Path) -> None:
    wheel, _sdist = distributions(tmp_path, "keyless")
    _authority, _certificate, other = client_certificate("bob@example.org")
    (tmp_path / "other.key").write_bytes(other)
    words = ("--client-certificate", office.folder / "bob.pem", "--client-key", tmp_path / "other.key")
    done = office.attest(*words, wheel)
    assert done.code == 2
    assert "not the private key of the client certificate" in done.said


def test_the_ceremony_on_two_machines(tmp_path: Path) -> None:
    """Plan and publish where attestations are issued, sign where the offline key is; only two files travel."""
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse battery staple\n")
    secret.chmod(0o600)
    online = Person(tmp_path / "online", tmp_path, {"ASSAY_PASSPHRASE_FILE": str(secret)})
    offline = Person(tmp_path / "offline", tmp_path, {"ASSAY_PASSPHRASE_FILE": str(secret)})
    names = ("--organization", "Example", "--url", "https://attest.example.org")
    planned = online.run(*ASSAY, "trust-root", "plan", "authority", *names)
    assert planned.code == 0, planned.said
    key = f"keyfile:{offline.folder}/root.pem"
    made = offline.run(*ASSAY, "key", "create", key, "--scheme", "p256")
    assert made.code == 0, made.said
    plan = online.folder / "authority" / "plan.json"
    signed = offline.run(*ASSAY, "trust-root", "sign", str(plan), "certificates.json", "--key", key)
    assert signed.code == 0, signed.said
    assert "attestation authority of Example" in signed.said
    certificates = offline.folder / "certificates.json"
    published = online.run(*ASSAY, "trust-root", "publish", "authority", str(certificates))
    assert published.code == 0, published.said
    root = online.folder / "authority" / "trusted_root.json"
    assert "ENCRYPTED" in (online.folder / "authority" / "keys" / "log.pem").read_text()
    TrustedRoot.from_file(str(root))
    other = online.run(*ASSAY, "trust-root", "plan", "second", *names)
    assert other.code == 0, other.said
    foreign = online.run(*ASSAY, "trust-root", "publish", "second", str(certificates))
    assert foreign.code == 10, foreign.said
    assert "other keys than planned" in foreign.said
    assert "attestation-authority" in foreign.said


def test_the_log_is_not_begun_anew(office: Office, tmp_path: Path) -> None:
    wheel, _sdist = distributions(tmp_path, "anew")
    assert office.attest("--oidc-token", pipeline_token(office), wheel).code == 0
    state = office.authority / "log" / "state.json"
    size = json.loads(state.read_text())["size"]
    entry = office.authority / "log" / f"{size - 1}.json"
    kept = entry.read_bytes()
    entry.unlink()
    broken = office.attest("--oidc-token", pipeline_token(office), wheel)
    assert broken.code == 1
    assert "attestation-log-state" in broken.said
    entry.write_bytes(kept)
