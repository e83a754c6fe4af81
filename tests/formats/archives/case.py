"""One archive of the corpus, and what must happen to it."""

from dataclasses import dataclass, field

from assay.formats.inspect import InspectionLimits


@dataclass(frozen=True)
class Case:
    """``rule``: the slug of the rule that refuses it, None if it is accepted. ``names``: what the message must name."""

    id: str
    filename: str
    data: bytes
    rule: str | None = None
    names: str = ""
    limits: InspectionLimits = field(default_factory=InspectionLimits)
