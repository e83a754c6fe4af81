"""The signed metadata of an index of any size, without its pages, files, ledger rows and log entries.

``python bench/synthetic.py FOLDER FILES``: makes a data folder whose bins list FILES files and 0.0875 pages for each,
by the product's own bulk publication. What an upload to such an index costs, or a client, can be measured on it in a
fraction of the time that ``assay upstream import`` of a whole listing takes, which ``bench/scale.py`` measures too.
"""

import hashlib
import sys
from array import array
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tuf.api.metadata import SuccinctRoles

from assay.index.config import DataFolder, load_config
from assay.index.establish import establish
from assay.index.ledger import Ledger
from assay.index.signer.bulk import BulkPublication
from assay.index.signer.house import open_publisher
from assay.index.signer.online import Keyring
from assay.model.digests import Sha256
from assay.trust.layout import TargetPath
from assay.trust.plan import NewTarget, bin_bits_for
from listing import PROJECTS_PER_FILE, project_name

FILES_PER_PROJECT = round(1 / PROJECTS_PER_FILE)
_TAGS = ("py3-none-any.whl", "cp312-cp312-manylinux_2_17_x86_64.whl", "tar.gz")


@dataclass(frozen=True)
class SyntheticSpool:
    """Stands in for the spool of a bulk publication: targets follow from their number, bins are arrays of numbers."""

    files: int
    succinct: SuccinctRoles
    first_seen: str

    def bins(self) -> Iterator[tuple[str, list[NewTarget]]]:
        """Every bin with its targets."""
        groups = [array("I") for _ in range(self.succinct.number_of_bins)]
        shift = 32 - self.succinct.bit_length
        for number in range(self.count):
            digest = hashlib.sha256(self.path(number).encode()).digest()
            groups[int.from_bytes(digest[:4], "big") >> shift].append(number)
        for name, group in zip(self.succinct.get_roles(), groups, strict=True):
            yield name, [self.target(number) for number in group]

    @property
    def count(self) -> int:
        """Targets in all: files, then pages."""
        return self.files + self.files // FILES_PER_PROJECT

    def path(self, number: int) -> str:
        """The path of a target."""
        if number >= self.files:
            return f"simple/{project_name(number - self.files)}/index.json"
        project, file = divmod(number, FILES_PER_PROJECT)
        name, version = project_name(project), f"{project % 7}.{file // 2}.{project % 5}"
        tag = _TAGS[(project + file) % 3]
        stem = f"{name.replace('-', '_')}-{version}"
        filename = f"{stem}.{tag}" if tag == "tar.gz" else f"{stem}-{tag}"
        return f"packages/{name}/{version}/{filename}"

    def target(self, number: int) -> NewTarget:
        """A target, as an import would have made it."""
        digest = hashlib.sha256(b"%d" % number).digest()
        custom = {"origin": "upstream", "first_seen": self.first_seen, "log_index": number}
        length = 2_000 + int.from_bytes(digest[:4], "big") % 4_400_000
        path = TargetPath(self.path(number))
        return NewTarget(path, length, Sha256(digest.hex()), custom if number < self.files else {})

    def remove(self) -> None:
        """Nothing is on disk."""


def make_index(folder: Path, files: int) -> tuple[DataFolder, str]:
    """An index with unencrypted keys at ``folder``; returns it with its administrator's token."""
    data = DataFolder(folder)
    data.make()
    data.config_file.write_text("[limits]\nuploads_per_minute = 10000000\nnew_projects_per_day = 10000000\n")
    (folder / "INSECURE-DEV-KEYS").touch()
    config, now = load_config(data.config_file), datetime.now(UTC)
    bits = bin_bits_for(round(files * (1 + PROJECTS_PER_FILE)))
    established = establish(data, replace(config, trust=replace(config.trust, bin_bits=bits)), None, now)
    with closing(Ledger.open(data.ledger_file)) as ledger:
        publisher = open_publisher(data, config, Keyring(data.keys, None, {}), ledger)

        def lay_aside(bulk: BulkPublication) -> None:
            bulk.spool = SyntheticSpool(files, bulk.state.succinct(), now.isoformat())  # type: ignore[assignment]

        publisher.publish_in_bulk(now, folder / ".import", lay_aside)
    return data, established.admin_token.text if established.admin_token else ""


if __name__ == "__main__":
    print(make_index(Path(sys.argv[1]).resolve(), int(sys.argv[2]))[1])
