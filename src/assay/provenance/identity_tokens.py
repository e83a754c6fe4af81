"""Identity tokens of trusted publishing: is this token the publisher's? Pure: claims in, answer out.

Invariants: every claim that a publisher is known by must be there and equal; a claim that is missing never matches.
Signature, audience and times of the token are somebody else's to verify, before. Sources: the claims that GitHub,
GitLab and Google document for their identity tokens; OpenID Connect Core 1.0 section 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from assay.model.errors import CallerError
from assay.provenance.publishers import (
    GOOGLE_ISSUER,
    GitHubPublisher,
    GitLabPublisher,
    GooglePublisher,
    OidcPublisher,
    Publisher,
    describe_publisher,
)

ANY_SUBJECT: Final = "*"
"""As the subject of an ``OidcPublisher``: known by its other claims alone (CircleCI's subject names a person)."""

MAX_CLAIMS: Final = 8
MAX_CLAIM_CHARS: Final = 300
_SHOWN: Final = ("sub", "repository", "project_path", "ref", "sha", "run_id", "pipeline_id", "workflow_ref", "email")


@dataclass(frozen=True, slots=True)
class TrustedPublisher:
    """A ``publisher`` that may upload without a token of its own; ``claims`` must be in its identity token, too."""

    publisher: Publisher
    claims: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        bad = len(self.claims) > MAX_CLAIMS or any(
            not name or not value or max(len(name), len(value)) > MAX_CLAIM_CHARS for name, value in self.claims
        )
        everybody = isinstance(self.publisher, OidcPublisher) and self.publisher.subject == ANY_SUBJECT
        if bad or (everybody and not self.claims):
            raise CallerError(
                "this publisher would be anybody, or has claims that cannot be",
                rule="publisher-claims",
                expected=f"a subject or 1 to {MAX_CLAIMS} claims of at most {MAX_CLAIM_CHARS} characters",
            )

    @property
    def issuer(self) -> str:
        """Who signs its identity tokens."""
        match self.publisher:
            case GitHubPublisher(issuer=issuer) | OidcPublisher(issuer=issuer):
                return issuer
            case GitLabPublisher(server=server):
                return server
            case GooglePublisher():
                return GOOGLE_ISSUER

    def describe(self) -> str:
        """One phrase for people."""
        extra = ", ".join(f"{name} {value}" for name, value in self.claims)
        return describe_publisher(self.publisher) + (f" with {extra}" if extra else "")


def is_token_of(trusted: TrustedPublisher, issuer: str, claims: Mapping[str, Any]) -> bool:
    """Whether verified ``claims`` of a token by ``issuer`` are those of the publisher."""
    if issuer != trusted.issuer or any(not _same_text(claims, name, value) for name, value in trusted.claims):
        return False
    match trusted.publisher:
        case GitHubPublisher() as github:
            return _is_github(github, claims)
        case GitLabPublisher() as gitlab:
            return _is_gitlab(gitlab, claims)
        case GooglePublisher(email=email):
            return _same_text(claims, "email", email) and claims.get("email_verified") is True
        case OidcPublisher(subject=subject):
            return subject == ANY_SUBJECT or _same_text(claims, "sub", subject)


def _is_github(publisher: GitHubPublisher, claims: Mapping[str, Any]) -> bool:
    repository = claims.get("repository")
    if not isinstance(repository, str) or repository.lower() != publisher.repository.lower():
        return False
    workflow = f"{repository}/.github/workflows/{publisher.workflow}"
    return (
        _ids_match(claims, (("repository_owner_id", publisher.owner_id), ("repository_id", publisher.repository_id)))
        and _environment_matches(claims, publisher.environment)
        and _at_checkout(claims, "job_workflow_ref", workflow, ("ref", "sha"))
    )


def _is_gitlab(publisher: GitLabPublisher, claims: Mapping[str, Any]) -> bool:
    project = claims.get("project_path")
    if not isinstance(project, str) or project.lower() != publisher.repository.lower():
        return False
    host = publisher.server.partition("://")[2]
    return (
        _ids_match(claims, (("namespace_id", publisher.owner_id), ("project_id", publisher.repository_id)))
        and _environment_matches(claims, publisher.environment)
        and _at_checkout(
            claims, "ci_config_ref_uri", f"{host}/{project}//{publisher.workflow_filepath}", ("ref_path", "sha")
        )
    )


def _at_checkout(claims: Mapping[str, Any], name: str, wanted: str, checkouts: tuple[str, ...]) -> bool:
    """The claim ``name`` is ``wanted`` at the branch, tag or commit that the token itself says it runs for."""
    accepted = [f"{wanted}@{claims[each]}" for each in checkouts if isinstance(claims.get(each), str) and claims[each]]
    return claims.get(name) in accepted


def _ids_match(claims: Mapping[str, Any], wanted: tuple[tuple[str, str | None], ...]) -> bool:
    return all(value is None or _same_text(claims, name, value) for name, value in wanted)


def _environment_matches(claims: Mapping[str, Any], wanted: str | None) -> bool:
    found = claims.get("environment")
    return wanted is None or (isinstance(found, str) and found.lower() == wanted.lower())


def _same_text(claims: Mapping[str, Any], name: str, wanted: str) -> bool:
    found = claims.get(name)
    return isinstance(found, str | int) and not isinstance(found, bool) and str(found) == wanted


def shown_claims(claims: Mapping[str, Any]) -> dict[str, str]:
    """The claims that say which run it was, for the log and for the ``custom`` of what was uploaded under them."""
    found = {name: claims[name] for name in _SHOWN if isinstance(claims.get(name), str | int)}
    return {name: str(value)[:MAX_CLAIM_CHARS] for name, value in found.items()}
