"""The catalogue of refusals as the installed program has it: ``docs/refusals.md``, which the wheel brings along."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import assay
from assay.model.errors import NotFound

NAME: Final = "refusals.md"
_ROW: Final = re.compile(r'\| <a id="([a-z0-9-]+)"></a>`[a-z0-9-]+` \| (.*) \| (.*) \| (.*) \|')


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One rule: why something is refused by it, how that most likely came about, what to do."""

    rule: str
    causes: str
    reading: str
    next_step: str

    def tell(self) -> str:
        """For a person."""
        return "\n".join(
            (
                self.rule,
                f"  refused because  {self.causes}",
                f"  reading          {self.reading}",
                f"  next step        {self.next_step}",
                f"  all rules        docs/refusals.md#{self.rule}",
            )
        )


def find_entry(rule: str) -> CatalogueEntry:
    """The entry of ``rule``. Raises NotFound."""
    for line in _text().splitlines():
        found = _ROW.match(line)
        if found and found[1] == rule:
            texts = (re.sub(r"&([lg])t;", lambda sign: "<" if sign[1] == "l" else ">", text) for text in found.groups())
            return CatalogueEntry(*(text.replace("\\|", "|") for text in texts))
    raise NotFound("no such rule", subject=rule, next_step="a refusal prints its rule after `rule`")


def _text() -> str:
    folder = Path(assay.__file__).parent
    for path in (folder / NAME, folder.parents[1] / "docs" / NAME):  # the wheel's, else the working tree's
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise NotFound("the catalogue of refusals is not installed", subject=NAME)
