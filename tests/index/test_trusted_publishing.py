"""Trusted publishing against a real issuer on loopback: which identity tokens buy an upload token, and for what."""

import asyncio
import base64
import hmac
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from assay.fetch import Fetcher
from assay.index import states
from assay.index.ledger import accounts, publishers
from assay.index.oidc.issuers import IssuerKeys, require_safe
from assay.index.oidc.mint import MintedToken, TokenMint
from assay.model.errors import AlreadyExists, AssayError, CallerError, NotAllowed, OperatorError
from assay.model.names import parse_project_name
from assay.model.permissions import ProjectRole
from assay.provenance.identity_tokens import ANY_SUBJECT, TrustedPublisher, is_token_of
from assay.provenance.publishers import GitHubPublisher, GitLabPublisher, GooglePublisher, OidcPublisher
from index.ledger_index import DEMO, LedgerIndex, build_wheel, wheel_name
from support.issuer import GITHUB_CLAIMS, Issuer, running_issuer

AUDIENCE = "assay-test"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with running_issuer() as running:
        yield running


@pytest.fixture
def index(tmp_path: Path) -> Iterator[LedgerIndex]:
    made = LedgerIndex(tmp_path / "index", now=datetime.now(UTC))
    yield made
    made.ledger.close()


def mint(index: LedgerIndex, issuer: Issuer, token: str, accepted: tuple[str, ...] | None = None) -> MintedToken:
    async def run() -> MintedToken:
        async with Fetcher() as fetcher:
            keys = IssuerKeys(accepted or (issuer.url,), fetcher, lambda: index.now)
            return await TokenMint(AUDIENCE, keys, index.ledger, lambda: index.now).mint(token)

    return asyncio.run(run())


def github(issuer: Issuer, **changes: str) -> TrustedPublisher:
    members = {"repository": "octo/demo", "workflow": "release.yml", "issuer": issuer.url} | changes
    return TrustedPublisher(GitHubPublisher(**members))


def register(index: LedgerIndex, trusted: TrustedPublisher, project: str = "demo", owner: str | None = None) -> int:
    with index.write() as connection:
        name = parse_project_name(project)
        return publishers.register(connection, name, trusted, owner, "boss", index.now).id


@pytest.fixture
def demo(index: LedgerIndex) -> LedgerIndex:
    """With the project ``demo`` of alice."""
    index.publish("demo", "1.0", index.user("alice"))
    return index


# --- the exchange ---------------------------------------------------------------------------------------------


def test_a_registered_publisher_uploads_with_a_minted_token(demo: LedgerIndex, issuer: Issuer) -> None:
    number = register(demo, github(issuer))
    minted = mint(demo, issuer, issuer.sign(AUDIENCE))
    assert minted.expires - demo.now == timedelta(minutes=15)
    assert minted.text not in repr(minted)
    demo.publish("demo", "2.0", demo.principal(minted.text))
    from assay.trust.layout import TargetPath

    target = demo.state().target(TargetPath(f"packages/demo/2.0/{wheel_name('demo', '2.0')}"))
    assert target is not None
    custom = target.custom
    assert (custom["uploader"], custom["role"], custom["granted_by"]) == (f"publisher:{number}", "publisher", "boss")
    assert custom["publisher"]["repository"] == "octo/demo"
    assert custom["publisher"]["run_id"] == "4711"
    assert demo.events("token-minted")[0]["actor"] == f"publisher:{number}"


def test_a_minted_token_reaches_no_other_project_and_ends(demo: LedgerIndex, issuer: Issuer) -> None:
    demo.publish("other", "1.0", demo.user("bob"))
    register(demo, github(issuer))
    text = mint(demo, issuer, issuer.sign(AUDIENCE)).text
    with pytest.raises(NotAllowed, match="may not upload to this project"):
        demo.admit(build_wheel("other", "2.0"), wheel_name("other", "2.0"), demo.principal(text))
    demo.later(minutes=15)
    with pytest.raises(NotAllowed, match="expired"):
        demo.principal(text)


def test_one_identity_token_is_for_every_project_of_its_publisher(demo: LedgerIndex, issuer: Issuer) -> None:
    demo.publish("other", "1.0", demo.user("bob"))
    register(demo, github(issuer))
    register(demo, github(issuer), "other")
    principal = demo.principal(mint(demo, issuer, issuer.sign(AUDIENCE)).text)
    demo.publish("demo", "2.0", principal)
    demo.publish("other", "2.0", principal)


def test_an_identity_token_is_used_once_also_within_the_leeway(demo: LedgerIndex, issuer: Issuer) -> None:
    register(demo, github(issuer))
    token = issuer.sign(AUDIENCE)
    mint(demo, issuer, token)
    for _moment in range(2):
        with pytest.raises(NotAllowed) as refusal:
            mint(demo, issuer, token)
        assert refusal.value.rule == "reused-token"
        demo.later(seconds=300 + 29)
    demo.later(seconds=60)
    with pytest.raises(NotAllowed, match="expired"):
        mint(demo, issuer, token)


def test_without_a_jti_the_token_itself_is_remembered(demo: LedgerIndex, issuer: Issuer) -> None:
    register(demo, github(issuer))
    token = issuer.sign(AUDIENCE, jti=None, alg="ES256")
    mint(demo, issuer, token)
    claims = jwt.decode(token, options={"verify_signature": False})
    again = jwt.encode(claims, issuer.ec_key, algorithm="ES256", headers={"kid": "ec"})
    assert again != token
    with pytest.raises(NotAllowed, match="used before"):
        mint(demo, issuer, again)


def test_a_refused_identity_token_is_not_spent(demo: LedgerIndex, issuer: Issuer) -> None:
    token = issuer.sign(AUDIENCE)
    with pytest.raises(NotAllowed) as refusal:
        mint(demo, issuer, token)
    assert refusal.value.rule == "invalid-publisher"
    assert "octo/demo" in str(refusal.value.found)
    register(demo, github(issuer))
    mint(demo, issuer, token)


STRANGER = rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda i: i.sign("somebody-else"), "invalid-token"),
        (lambda i: i.sign([AUDIENCE, "somebody-else"]), "invalid-token"),
        (lambda i: i.sign(f"{AUDIENCE}x"), "invalid-token"),
        (lambda i: i.sign(None), "invalid-token"),
        (lambda i: i.sign(AUDIENCE, exp=time.time() - 31), "invalid-token"),
        (lambda i: i.sign(AUDIENCE, exp=None), "invalid-token"),
        (lambda i: i.sign(AUDIENCE, exp="soon"), "invalid-token"),
        (lambda i: i.sign(AUDIENCE, exp=1e300), "invalid-token"),
        (lambda i: i.sign(AUDIENCE, exp=time.time() + 90_000), "invalid-token"),
        (lambda i: i.sign(AUDIENCE, iat=None), "invalid-token"),
        (lambda i: i.sign(AUDIENCE, iat=time.time() + 60), "invalid-token"),
        (lambda i: i.sign(AUDIENCE, nbf=time.time() + 60), "invalid-token"),
        (lambda i: i.sign(AUDIENCE, iss="http://127.0.0.1:1"), "unknown-issuer"),
        (lambda i: i.sign(AUDIENCE, iss=None), "invalid-token"),
        (lambda i: i.sign(AUDIENCE, key=STRANGER), "invalid-token"),
        (lambda i: i.sign(AUDIENCE, kid="unknown"), "invalid-token"),
        (lambda i: i.sign(AUDIENCE, kid="ec"), "invalid-token"),
        (lambda i: i.sign(AUDIENCE, alg="HS256", key="secret" * 8, kid="secret"), "invalid-token"),
        (lambda i: jwt.encode({"iss": i.url, "aud": AUDIENCE}, "", algorithm="none"), "invalid-token"),
        (lambda i: i.sign(AUDIENCE)[:-4] + "AAAA", "invalid-token"),
        (lambda i: "no token", "invalid-token"),
        (lambda i: "a." * 9_000, "invalid-token"),
        (lambda i: i.sign(AUDIENCE, repository="evil/demo"), "invalid-publisher"),
        (lambda i: i.sign(AUDIENCE, repository_owner_id="8"), "invalid-publisher"),
        (lambda i: i.sign(AUDIENCE, environment=None), "invalid-publisher"),
        (lambda i: i.sign(AUDIENCE, ref="refs/heads/other", sha="b" * 40), "invalid-publisher"),
    ],
)
def test_identity_tokens_that_are_refused(
    demo: LedgerIndex, issuer: Issuer, make: Callable[[Issuer], str], rule: str
) -> None:
    register(demo, github(issuer, owner_id="7", environment="release"))
    mint(demo, issuer, issuer.sign(AUDIENCE))
    with pytest.raises(NotAllowed) as refusal:
        mint(demo, issuer, make(issuer))
    assert refusal.value.rule == rule
    assert len(demo.events("token-minted")) == 1


def test_the_public_key_as_an_hmac_secret_is_refused(demo: LedgerIndex, issuer: Issuer) -> None:
    register(demo, github(issuer))
    public = issuer.rsa_key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _header, claims, _signature = issuer.sign(AUDIENCE).split(".")
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"rsa","typ":"JWT"}').rstrip(b"=").decode()
    mac = hmac.digest(public, f"{header}.{claims}".encode(), "sha256")
    forged = f"{header}.{claims}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    with pytest.raises(NotAllowed) as refusal:
        mint(demo, issuer, forged)
    assert refusal.value.rule == "invalid-token"


@pytest.mark.parametrize("moment", [-30, 299, 329])
def test_the_leeway_is_thirty_seconds(demo: LedgerIndex, issuer: Issuer, moment: int) -> None:
    register(demo, github(issuer))
    token = issuer.sign(AUDIENCE, iat=demo.now.timestamp(), nbf=None, exp=demo.now.timestamp() + 300)
    demo.later(seconds=moment)
    mint(demo, issuer, token)


def test_issuers_are_not_asked_again_for_every_unknown_key(demo: LedgerIndex, issuer: Issuer) -> None:
    async def run() -> list[str]:
        async with Fetcher() as fetcher:
            keys = IssuerKeys((issuer.url,), fetcher, lambda: demo.now)
            issuer.asked.clear()
            for attempt in range(5):
                with pytest.raises(NotAllowed):
                    await keys.find(issuer.url, f"unknown-{attempt}")
            demo.later(seconds=61)
            await keys.find(issuer.url, "rsa")
            return list(issuer.asked)

    assert asyncio.run(run()).count("/keys") == 1


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://issuer.example", True),
        ("http://127.0.0.1:8080", True),
        ("http://issuer.example", False),
        ("http://127.0.0.1.example", False),
        ("file:///etc/passwd", False),
        ("ftp://127.0.0.1", False),
    ],
)
def test_issuers_are_asked_over_https(url: str, safe: bool) -> None:
    if safe:
        require_safe(url)
    else:
        with pytest.raises(OperatorError):
            require_safe(url)


# --- publishers -----------------------------------------------------------------------------------------------


def test_a_pending_publisher_makes_the_project_for_its_owner(index: LedgerIndex, issuer: Issuer) -> None:
    index.user("carol")
    register(index, github(issuer), owner="carol")
    principal = index.principal(mint(index, issuer, issuer.sign(AUDIENCE)).text)
    index.publish("demo", "1.0", principal)
    index.publish("demo", "2.0", principal)
    with index.ledger.read() as connection:
        grant = accounts.find_grant(connection, DEMO, "carol")
    assert grant is not None
    assert grant.role is ProjectRole.OWNER


def test_a_pending_publisher_counts_for_nothing_once_somebody_else_has_the_name(
    index: LedgerIndex, issuer: Issuer
) -> None:
    index.user("carol")
    register(index, github(issuer), owner="carol")
    before = index.principal(mint(index, issuer, issuer.sign(AUDIENCE)).text)
    index.publish("demo", "1.0", index.user("mallory"))
    with pytest.raises(NotAllowed):
        index.admit(build_wheel("demo", "2.0"), wheel_name("demo", "2.0"), before)
    with pytest.raises(NotAllowed, match="no project has this publisher"):
        mint(index, issuer, issuer.sign(AUDIENCE))


@pytest.mark.parametrize("end", ["revoke", "transfer", "remove"])
def test_a_publisher_whose_right_ended(demo: LedgerIndex, issuer: Issuer, end: str) -> None:
    number = register(demo, github(issuer))
    demo.user("bob")
    principal = demo.principal(mint(demo, issuer, issuer.sign(AUDIENCE)).text)
    with demo.write() as connection:
        match end:
            case "revoke":
                publishers.revoke(connection, number, "boss", demo.now)
            case "transfer":
                states.transfer(connection, DEMO, "bob", "boss", demo.now)
            case _:
                states.remove_project(connection, DEMO, "gone", "boss", demo.now)
    with pytest.raises(NotAllowed):
        demo.admit(build_wheel("demo", "2.0"), wheel_name("demo", "2.0"), principal)
    with pytest.raises(NotAllowed, match="no project has this publisher"):
        mint(demo, issuer, issuer.sign(AUDIENCE))


def test_what_cannot_be_registered(demo: LedgerIndex, issuer: Issuer) -> None:
    register(demo, github(issuer))
    with pytest.raises(AlreadyExists):
        register(demo, github(issuer))
    with pytest.raises(CallerError, match="no such project yet"):
        register(demo, github(issuer), "newproject")
    with pytest.raises(CallerError, match="would be anybody"):
        TrustedPublisher(OidcPublisher(issuer.url, ANY_SUBJECT))


GITLAB = "https://gitlab.com"
GITLAB_CLAIMS = {
    "project_path": "group/sub/demo",
    "namespace_id": "7",
    "project_id": "11",
    "ci_config_ref_uri": "gitlab.com/group/sub/demo//.gitlab-ci.yml@refs/heads/main",
    "ref_path": "refs/heads/main",
    "sha": "a" * 40,
}
CIRCLE = "https://oidc.circleci.com/org/5"
CIRCLE_CLAIMS = {"sub": "org/5/project/9/user/3", "oidc.circleci.com/project-id": "9"}
A_GITHUB = TrustedPublisher(GitHubPublisher("octo/demo", "release.yml"))
A_GITLAB = TrustedPublisher(GitLabPublisher("group/sub/demo"))
A_GOOGLE = TrustedPublisher(GooglePublisher("ci@project.example"))
A_CIRCLE = TrustedPublisher(OidcPublisher(CIRCLE, ANY_SUBJECT), (("oidc.circleci.com/project-id", "9"),))


@pytest.mark.parametrize(
    ("trusted", "claims", "matches"),
    [
        (A_GITHUB, GITHUB_CLAIMS, True),
        (TrustedPublisher(GitHubPublisher("Octo/Demo", "release.yml")), GITHUB_CLAIMS, True),
        (A_GITHUB, {**GITHUB_CLAIMS, "repository": "octo/other"}, False),
        (A_GITHUB, {**GITHUB_CLAIMS, "job_workflow_ref": "octo/demo/.github/workflows/release.yml@" + "a" * 40}, True),
        (A_GITHUB, {**GITHUB_CLAIMS, "job_workflow_ref": "octo/demo/.github/workflows/test.yml@refs/tags/v1"}, False),
        (A_GITHUB, {**GITHUB_CLAIMS, "job_workflow_ref": "o/x/.github/workflows/release.yml@refs/tags/v1"}, False),
        (A_GITHUB, {**GITHUB_CLAIMS, "ref": "", "sha": ""}, False),
        (A_GITHUB, {}, False),
        (TrustedPublisher(GitHubPublisher("octo/demo", "release.yml", environment="Release")), GITHUB_CLAIMS, True),
        (TrustedPublisher(GitHubPublisher("octo/demo", "release.yml", environment="prod")), GITHUB_CLAIMS, False),
        (TrustedPublisher(GitHubPublisher("octo/demo", "release.yml", repository_id="12")), GITHUB_CLAIMS, False),
        (A_GITLAB, GITLAB_CLAIMS, True),
        (A_GITLAB, {**GITLAB_CLAIMS, "project_path": "group/sub/other"}, False),
        (A_GITLAB, {**GITLAB_CLAIMS, "ci_config_ref_uri": "gitlab.com/group/sub/demo//x.yml@refs/heads/main"}, False),
        (TrustedPublisher(GitLabPublisher("group/sub/demo", owner_id="8")), GITLAB_CLAIMS, False),
        (A_GOOGLE, {"email": "ci@project.example", "email_verified": True}, True),
        (A_GOOGLE, {"email": "ci@project.example", "email_verified": "true"}, False),
        (A_GOOGLE, {"email": "ci@project.example"}, False),
        (A_CIRCLE, CIRCLE_CLAIMS, True),
        (A_CIRCLE, {**CIRCLE_CLAIMS, "oidc.circleci.com/project-id": "8"}, False),
        (A_CIRCLE, {"sub": "org/5/project/9/user/3"}, False),
        (TrustedPublisher(OidcPublisher(CIRCLE, "org/5/project/9/user/3")), CIRCLE_CLAIMS, True),
        (TrustedPublisher(OidcPublisher(CIRCLE, "org/5/project/9/user/4")), CIRCLE_CLAIMS, False),
    ],
)
def test_whose_token_it_is(trusted: TrustedPublisher, claims: dict[str, Any], matches: bool) -> None:
    assert is_token_of(trusted, trusted.issuer, claims) is matches
    assert not is_token_of(trusted, "https://evil.example", claims)


def test_an_unreachable_issuer_is_said_to_be_one(demo: LedgerIndex, issuer: Issuer) -> None:
    gone = "http://127.0.0.1:9"
    with pytest.raises(AssayError) as refusal:
        mint(demo, issuer, issuer.sign(AUDIENCE, iss=gone), accepted=(gone,))
    assert not isinstance(refusal.value, NotAllowed)
