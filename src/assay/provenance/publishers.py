"""Publishers: the identities that a project expects its files to be signed with.

Invariants: a ``Publisher`` comes from policy or signed metadata, never from a provenance file. ``require_publisher``
compares it with a certificate's claims and names the rule that refused. Source: PEP 740, the publisher kinds of the
Integrity API.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NoReturn

from assay.model.errors import CallerError, VerificationFailed
from assay.provenance.identities import SignerIdentity, matches_ref, same_uri

GITHUB_ISSUER: Final = "https://token.actions.githubusercontent.com"
GITHUB: Final = "https://github.com"
GITLAB: Final = "https://gitlab.com"
GOOGLE_ISSUER: Final = "https://accounts.google.com"

IdentityRule = Literal[
    "attestation-issuer",
    "attestation-repository",
    "attestation-workflow",
    "attestation-ref",
    "attestation-owner",
    "attestation-identity",
]


@dataclass(frozen=True, slots=True)
class GitHubPublisher:
    """A workflow of a GitHub repository. ``repository``: ``owner/name``, case does not matter, as on GitHub.

    ``workflow``: its filename under ``.github/workflows``. ``owner_id``, ``repository_id``: given, they must match,
    so that whoever takes over a deleted name is refused. ``ref``: where the workflow must have run, ``refs/heads/main``
    or ``refs/tags/*``, so that a branch with an edited workflow is refused. ``environment`` is shown but stands in no
    certificate.
    """

    repository: str
    workflow: str
    environment: str | None = None
    owner_id: str | None = None
    repository_id: str | None = None
    ref: str | None = None
    server: str = GITHUB
    issuer: str = GITHUB_ISSUER


@dataclass(frozen=True, slots=True)
class GitLabPublisher:
    """A pipeline of a GitLab project. ``repository``: ``group/subgroup/name``. ``server`` is also the issuer."""

    repository: str
    workflow_filepath: str = ".gitlab-ci.yml"
    environment: str | None = None
    owner_id: str | None = None
    repository_id: str | None = None
    ref: str | None = None
    server: str = GITLAB


@dataclass(frozen=True, slots=True)
class GooglePublisher:
    """A Google Cloud service account, by its e-mail address."""

    email: str


@dataclass(frozen=True, slots=True)
class OidcPublisher:
    """Any identity of any OIDC provider, or of an own authority: ``subject`` as it stands in the certificate."""

    issuer: str
    subject: str


Publisher = GitHubPublisher | GitLabPublisher | GooglePublisher | OidcPublisher


def require_publisher(identity: SignerIdentity, publisher: Publisher) -> None:
    """Refuse unless ``identity`` is ``publisher``. Raises VerificationFailed with an ``IdentityRule``."""
    match publisher:
        case GitHubPublisher():
            path = f"/.github/workflows/{publisher.workflow}"
            _require_project(identity, publisher, publisher.issuer, path)
        case GitLabPublisher():
            _require_project(identity, publisher, publisher.server, f"//{publisher.workflow_filepath}")
        case GooglePublisher():
            _require_subject(identity, GOOGLE_ISSUER, publisher.email)
        case OidcPublisher():
            _require_subject(identity, publisher.issuer, publisher.subject)


def _require_project(
    identity: SignerIdentity, publisher: GitHubPublisher | GitLabPublisher, issuer: str, workflow_path: str
) -> None:
    if identity.issuer != issuer:
        _differs(
            "signed with an identity of another provider",
            rule="attestation-issuer",
            expected=issuer,
            found=identity.issuer,
        )
    expected = f"{publisher.server}/{publisher.repository}"
    repository = identity.repository or "no repository"
    if not same_uri(repository, expected):
        _differs("signed from another repository", rule="attestation-repository", expected=expected, found=repository)
    for name, wanted, found in (
        ("owner", publisher.owner_id, identity.owner_id),
        ("repository", publisher.repository_id, identity.repository_id),
    ):
        if wanted is not None and wanted != found:
            _differs(
                f"the {name}'s name is now another {name}'s",
                rule="attestation-owner",
                expected=f"id {wanted}",
                found=f"id {found}",
            )
    checkouts = [checkout for checkout in (identity.ref, identity.digest) if checkout]
    accepted = [f"{repository}{workflow_path}@{checkout}" for checkout in checkouts]
    if identity.build_config not in accepted:
        found = identity.build_config or "no workflow"
        _differs(
            "signed by another workflow",
            rule="attestation-workflow",
            expected=f"{expected}{workflow_path}",
            found=found,
        )
    if publisher.ref is not None and not matches_ref(identity.ref, publisher.ref):
        _differs(
            "signed from another branch or tag",
            rule="attestation-ref",
            expected=publisher.ref,
            found=identity.ref or "no ref",
        )


def _require_subject(identity: SignerIdentity, issuer: str, subject: str) -> None:
    if identity.issuer != issuer:
        _differs(
            "signed with an identity of another provider",
            rule="attestation-issuer",
            expected=issuer,
            found=identity.issuer,
        )
    if subject not in identity.subjects:
        _differs(
            "signed by somebody else", rule="attestation-identity", expected=subject, found=", ".join(identity.subjects)
        )


def _differs(what: str, *, rule: IdentityRule, expected: str, found: str) -> NoReturn:
    raise VerificationFailed(
        what,
        rule=rule,
        expected=expected,
        found=found[:300],
        next_step="if the project moved, register its new publisher; else treat the file as forged",
    )


def publisher_of(identity: SignerIdentity) -> Publisher:
    """The narrowest publisher that ``identity`` is: what to remember of an identity that is seen for the first time.

    Use it on the identity of a VerifiedAttestation only.
    """
    workflow = identity.workflow or ""
    github = f"{GITHUB}/"
    if identity.issuer == GITHUB_ISSUER and identity.repository and identity.repository.startswith(github):
        if workflow.startswith(".github/workflows/"):
            return GitHubPublisher(
                identity.repository.removeprefix(github),
                workflow.removeprefix(".github/workflows/"),
                owner_id=identity.owner_id,
                repository_id=identity.repository_id,
            )
    elif identity.repository and identity.repository.startswith(f"{identity.issuer}/") and workflow:
        return GitLabPublisher(
            identity.repository.removeprefix(f"{identity.issuer}/"),
            workflow,
            owner_id=identity.owner_id,
            repository_id=identity.repository_id,
            server=identity.issuer,
        )
    if identity.issuer == GOOGLE_ISSUER:
        return GooglePublisher(identity.subjects[0])
    return OidcPublisher(identity.issuer, identity.subjects[0])


def describe_publisher(publisher: Publisher) -> str:
    """One phrase for people: ``GitHub workflow release.yml of org/project``."""
    match publisher:
        case GitHubPublisher():
            where = _where(publisher, GITHUB)
            return f"GitHub workflow {publisher.workflow} of {publisher.repository}{where}"
        case GitLabPublisher():
            where = _where(publisher, GITLAB)
            return f"GitLab pipeline {publisher.workflow_filepath} of {publisher.repository}{where}"
        case GooglePublisher():
            return f"Google account {publisher.email}"
        case OidcPublisher():
            return f"{publisher.subject} (by {publisher.issuer})"


def _where(publisher: GitHubPublisher | GitLabPublisher, public: str) -> str:
    server = "" if publisher.server == public else f" on {publisher.server}"
    return server if publisher.ref is None else f"{server} at {publisher.ref}"


def render_publisher(publisher: Publisher) -> dict[str, str | None]:
    """The ``publisher`` member of a provenance object; ``parse_publisher`` reads it back."""
    match publisher:
        case GitHubPublisher():
            known: dict[str, str | None] = {
                "kind": "GitHub",
                "repository": publisher.repository,
                "workflow": publisher.workflow,
                "environment": publisher.environment,
            }
            extra = {
                "owner_id": publisher.owner_id,
                "repository_id": publisher.repository_id,
                "ref": publisher.ref,
            }
            if (publisher.server, publisher.issuer) != (GITHUB, GITHUB_ISSUER):
                extra |= {"server": publisher.server, "issuer": publisher.issuer}
        case GitLabPublisher():
            known = {
                "kind": "GitLab",
                "repository": publisher.repository,
                "workflow_filepath": publisher.workflow_filepath,
                "environment": publisher.environment,
            }
            extra = {
                "owner_id": publisher.owner_id,
                "repository_id": publisher.repository_id,
                "ref": publisher.ref,
            }
            if publisher.server != GITLAB:
                extra |= {"server": publisher.server}
        case GooglePublisher():
            return {"kind": "Google", "email": publisher.email}
        case OidcPublisher():
            return {"kind": "OIDC", "issuer": publisher.issuer, "subject": publisher.subject}
    return known | {name: value for name, value in extra.items() if value is not None}


_KINDS: Final[dict[str, Callable[..., Publisher]]] = {
    "GitHub": GitHubPublisher,
    "GitLab": GitLabPublisher,
    "Google": GooglePublisher,
    "OIDC": OidcPublisher,
}
_MEMBERS: Final[dict[str, tuple[frozenset[str], frozenset[str]]]] = {
    "GitHub": (
        frozenset({"repository", "workflow"}),
        frozenset({"environment", "owner_id", "repository_id", "ref", "server", "issuer"}),
    ),
    "GitLab": (
        frozenset({"repository"}),
        frozenset({"workflow_filepath", "environment", "owner_id", "repository_id", "ref", "server"}),
    ),
    "Google": (frozenset({"email"}), frozenset()),
    "OIDC": (frozenset({"issuer", "subject"}), frozenset()),
}


def parse_publisher(values: dict[str, object]) -> Publisher:
    """A publisher as policy files and signed metadata write it (the shape of ``render_publisher``).

    Raises CallerError (``publisher``) for an unknown kind, an unknown or missing member, or a value that is no text.
    Never feed it a provenance file's ``publisher``: that one is a claim of whoever wrote the file.
    """
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise _bad_publisher("unknown kind", found=repr(kind)[:80], expected=" or ".join(_KINDS))
    required, optional = _MEMBERS[kind]
    given = {name: value for name, value in values.items() if name != "kind" and value is not None}
    for name in sorted(set(given) - required - optional) + sorted(required - set(given)):
        raise _bad_publisher("unknown member" if name in given else "missing member", found=name[:80])
    texts: dict[str, str] = {}
    for name, value in given.items():
        if not isinstance(value, str) or not value or not value.isprintable() or len(value) > 300:
            raise _bad_publisher("not a text", found=name)
        texts[name] = value.rstrip("/") if name == "server" else value
    return _KINDS[kind](**texts)


def _bad_publisher(what: str, *, found: str, expected: str | None = None) -> CallerError:
    return CallerError(f"not a publisher: {what}", rule="publisher", found=found, expected=expected)
