"""An audit as a CycloneDX bill of materials: each component with its verdict and who vouches for it."""

from typing import Final

from assay.client.audit.audit import Audit, Finding
from assay.model.errors import OperatorError

_PUBLISHER: Final = ("uploader", "role", "granted_by", "origin", "first_seen")


def render_sbom(audit: Audit) -> bytes:
    """The bill of materials as JSON, CycloneDX 1.6. Raises OperatorError without the library (``assay[sbom]``)."""
    try:
        from cyclonedx.model import HashAlgorithm, HashType, Property
        from cyclonedx.model.bom import Bom
        from cyclonedx.model.component import Component, ComponentType
        from cyclonedx.output.json import JsonV1Dot6
        from packageurl import PackageURL
    except ImportError as error:
        raise OperatorError(
            "bills of materials need a library that is not installed",
            rule="sbom-library",
            subject="cyclonedx-python-lib",
            next_step="pip install 'assay[sbom]'",
        ) from error
    components = []
    for finding in audit.findings:
        project, version = finding.installed.project, finding.installed.version
        purl = PackageURL("pypi", name=project, version=version)
        components.append(
            Component(
                type=ComponentType.LIBRARY,
                name=project,
                version=version,
                purl=purl,
                bom_ref=str(purl),
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=finding.file.sha256)] if finding.file else [],
                properties=[Property(name=f"assay:{key}", value=value) for key, value in _facts(finding).items()],
            )
        )
    return JsonV1Dot6(Bom(components=components)).output_as_string(indent=1).encode()


def _facts(finding: Finding) -> dict[str, str]:
    """What the index vouches for, and what the audit found."""
    facts = {"verdict": finding.verdict.value}
    if finding.reason is not None:
        facts["reason"] = finding.reason
    if finding.file is not None:
        facts["file"] = finding.file.filename
        facts |= {key: str(finding.file.custom[key]) for key in _PUBLISHER if key in finding.file.custom}
    return facts
