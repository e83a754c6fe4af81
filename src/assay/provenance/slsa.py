"""SLSA v1 build provenance: where a file was built from, by which workflow and builder, and whether policy likes it.

Invariant: a predicate is the signer's own word, written by whoever may edit the workflow. ``agreed_build`` refuses one
that contradicts the signing certificate and fills from it what the predicate leaves open, so a rule about source,
workflow or ref is answered by the certificate authority. Source: https://slsa.dev/spec/v1.0/provenance.
"""

from dataclasses import dataclass, replace
from typing import Final

from assay.model.errors import RefusedByPolicy, VerificationFailed
from assay.provenance.identities import SignerIdentity, matches_ref, same_uri
from assay.provenance.strict_json import JsonObject

SLSA_V1: Final = "https://slsa.dev/provenance/v1"


@dataclass(frozen=True, slots=True)
class BuildProvenance:
    """Facts of a SLSA v1 predicate; None where its build type does not say.

    ``source``: URI of the repository; ``ref``, ``commit``: what was checked out; ``workflow``: path in the
    repository; ``builder``: URI of what ran the build; ``run``: URI of the run.
    """

    build_type: str
    builder: str
    source: str | None
    ref: str | None
    commit: str | None
    workflow: str | None
    run: str | None


@dataclass(frozen=True, slots=True)
class BuildRule:
    """What policy asks of a build; None asks nothing.

    ``source``: URI of the repository, case does not matter. ``workflow``: path in the repository. ``builder``: URI
    of the builder; without ``@`` it means any version of it. ``ref``: ``refs/heads/main``, or ``refs/tags/*``.
    """

    source: str | None = None
    workflow: str | None = None
    builder: str | None = None
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One thing that a rule asks for and a build does not show."""

    what: str
    expected: str
    found: str | None


def parse_build_provenance(predicate: JsonObject) -> BuildProvenance:
    """Read the predicate of a SLSA v1 statement. Raises VerificationFailed (its rule) if malformed."""
    definition, run_details = predicate.object("buildDefinition"), predicate.object("runDetails")
    parameters = definition.object("externalParameters")
    workflow = parameters.optional_object("workflow")
    metadata = run_details.optional_object("metadata")
    dependency_source, commit = _dependency(definition)
    stated = workflow.optional_text("repository") if workflow else parameters.optional_text("source")
    if stated is not None and not same_uri(stated, dependency_source or stated):
        commit = None
    return BuildProvenance(
        build_type=definition.text("buildType"),
        builder=run_details.object("builder").text("id"),
        source=stated or dependency_source,
        ref=workflow.optional_text("ref") if workflow else None,
        commit=commit,
        workflow=workflow.optional_text("path") if workflow else None,
        run=metadata.optional_text("invocationId") if metadata else None,
    )


def _dependency(definition: JsonObject) -> tuple[str | None, str | None]:
    """Repository and commit of the first resolved dependency that is a git checkout."""
    if not definition.values.get("resolvedDependencies"):
        return None, None
    for dependency in definition.objects("resolvedDependencies", at_most=1000):
        uri = dependency.optional_text("uri") or ""
        if uri.startswith("git+"):
            digest = dependency.optional_object("digest")
            commit = (digest.optional_text("gitCommit") or digest.optional_text("sha1")) if digest else None
            return uri.removeprefix("git+").partition("@")[0], commit
    return None, None


def agreed_build(build: BuildProvenance, identity: SignerIdentity) -> BuildProvenance:
    """``build``, completed by what the certificate of its signer says of the same run.

    Raises VerificationFailed (``attestation-build``) where the two contradict each other.
    """
    source = build.source.removesuffix(".git") if build.source is not None else None
    if source is not None and identity.repository is not None and not same_uri(source, identity.repository):
        raise _contradiction("source repository", identity.repository, source)
    for what, certified, said in (
        ("ref", identity.ref, build.ref),
        ("commit", identity.digest, build.commit),
        ("workflow", identity.workflow, build.workflow),
        ("builder", _certified_builder(build.builder, identity), build.builder),
    ):
        if certified is not None and said is not None and certified != said:
            raise _contradiction(what, certified, said)
    return replace(
        build,
        source=build.source or identity.repository,
        ref=build.ref or identity.ref,
        commit=build.commit or identity.digest,
        workflow=build.workflow or identity.workflow,
        run=build.run or identity.run,
    )


def _certified_builder(builder: str, identity: SignerIdentity) -> str | None:
    """The builder as the certificate knows it: a workflow's URI, or a kind of runner. None for other builders."""
    if "@" in builder:
        return identity.build_signer
    place, _, kind = builder.rpartition("/")
    return f"{place}/{identity.runner}" if identity.runner is not None and kind.endswith("-hosted") else None


def _contradiction(what: str, expected: str, found: str) -> VerificationFailed:
    return VerificationFailed(
        f"the build provenance contradicts the certificate of its signer: another {what}",
        rule="attestation-build",
        expected=expected,
        found=found[:300],
    )


def mismatches(build: BuildProvenance, rule: BuildRule) -> tuple[Mismatch, ...]:
    """What ``rule`` asks for and ``build`` does not show; empty means that it matches."""
    found = []
    if rule.source is not None and not same_uri(build.source or "", rule.source):
        found.append(Mismatch("source repository", rule.source, build.source))
    if rule.workflow is not None and build.workflow != rule.workflow:
        found.append(Mismatch("workflow", rule.workflow, build.workflow))
    builder = build.builder if rule.builder and "@" in rule.builder else build.builder.partition("@")[0]
    if rule.builder is not None and builder != rule.builder:
        found.append(Mismatch("builder", rule.builder, build.builder))
    if rule.ref is not None and not matches_ref(build.ref, rule.ref):
        found.append(Mismatch("ref", rule.ref, build.ref))
    return tuple(found)


def require_build(build: BuildProvenance | None, rule: BuildRule, *, filename: str) -> None:
    """Refuse a build that ``rule`` does not allow, or that nobody attests.

    Raises RefusedByPolicy (``build-provenance``).
    """
    if build is None:
        raise RefusedByPolicy(
            "nobody attests how this file was built",
            rule="build-provenance",
            subject=filename,
            expected="a SLSA v1 attestation",
            next_step="ask the project to attest its builds, or relax the policy for it",
        )
    found = mismatches(build, rule)
    if found:
        raise RefusedByPolicy(
            f"the file was built from another {found[0].what} than policy allows",
            rule="build-provenance",
            subject=filename,
            expected=found[0].expected,
            found=found[0].found or "none",
        )
