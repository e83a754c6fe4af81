"""Does a project's description render? What does not would reach readers as its source.

Costs whatever the description wants: docutils recurses and looks for lexers. Only for a process that may be lost.
"""

from io import StringIO

from readme_renderer import markdown, rst

from assay.formats.core_metadata import CoreMetadata, refused_field

MAX_DESCRIPTION_CHARS = 1_000_000


def require_renders(metadata: CoreMetadata) -> None:
    """Raise InvalidDistribution unless the description renders as its content type says (reStructuredText by default).

    Plain text always does.
    """
    text = metadata.description
    if text is None or not text.strip() or text.strip() == "UNKNOWN":
        return
    if len(text) > MAX_DESCRIPTION_CHARS:
        expected, found = f"at most {MAX_DESCRIPTION_CHARS} characters", f"{len(text)} characters"
        raise refused_field("description", "metadata-description", "the description is too long", expected, found)
    kind, _, options = (metadata.description_content_type or "text/x-rst").partition(";")
    said = StringIO()
    if kind.strip().lower() == "text/x-rst":
        rendered = rst.render(text, stream=said)
    elif kind.strip().lower() == "text/markdown":
        variant = "CommonMark" if "commonmark" in options.lower() else "GFM"
        rendered = markdown.render(text, variant=variant)
    else:
        return
    if rendered is None:
        found = " ".join(said.getvalue().split())[:300] or "nothing came out"
        raise refused_field("description", "metadata-description", f"it does not render as {kind.strip()}", found=found)
