"""SLSA v1 build provenance: where a file was built from, by which workflow and builder, and whether policy likes it.

Invariant: a predicate is the signer's own word. ``verify_attestation`` refuses one that contradicts the signing
certificate, so a rule that names a source repository is answered by both. Source:
https://slsa.dev/spec/v1.0/provenance.
"""

from dataclasses import dataclass
from typing import Final

from assay.model.errors import RefusedByPolicy
from assay.provenance.identities import same_uri
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
    of the builder; without ``@`` it means any version of it. ``ref_prefix``: such as ``refs/tags/``.
    """

    source: str | None = None
    workflow: str | None = None
    builder: str | None = None
    ref_prefix: str | None = None


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
    return BuildProvenance(
        build_type=definition.text("buildType"),
        builder=run_details.object("builder").text("id"),
        source=stated or dependency_source,
        ref=workflow.optional_text("ref") if workflow else None,
        commit=commit,
        workflow=workflow.optional_text("path") if workflow else parameters.optional_text("entryPoint"),
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
    if rule.ref_prefix is not None and not (build.ref or "").startswith(rule.ref_prefix):
        found.append(Mismatch("ref", f"{rule.ref_prefix}...", build.ref))
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
