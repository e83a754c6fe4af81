"""Targets of a publication that is larger than memory: laid aside on disk, and read back bin by bin.

A bin is a prefix of its targets' hashed paths, so each file of the spool holds whole, neighbouring bins.
"""

import hashlib
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import orjson
from tuf.api.metadata import SuccinctRoles

from assay import durable
from assay.model.digests import Sha256
from assay.trust.layout import TargetPath
from assay.trust.plan import NewTarget

MAX_FILES_BITS: Final = 8
BUFFER_BYTES: Final = 262_144


class TargetSpool:
    """The spool in ``folder``, which is emptied first, for the bins of ``succinct``."""

    def __init__(self, folder: Path, succinct: SuccinctRoles) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._folder = folder
        self._succinct = succinct
        self._bits = min(succinct.bit_length, MAX_FILES_BITS)
        self._buffers: list[bytearray] = [bytearray() for _ in range(1 << self._bits)]

    def add(self, target: NewTarget) -> None:
        """Lay ``target`` aside."""
        first = hashlib.sha256(target.path.encode()).digest()[0] >> (8 - self._bits)
        buffer = self._buffers[first]
        buffer += orjson.dumps([target.path, target.length, target.sha256, target.custom])
        buffer += b"\n"
        if len(buffer) >= BUFFER_BYTES:
            self._flush(first)

    def bins(self) -> Iterator[tuple[str, list[NewTarget]]]:
        """Every bin that has targets here, with them, in the bins' order. May be walked through again."""
        for number in range(len(self._buffers)):
            self._flush(number)
            path = self._path(number)
            if not path.exists():
                continue
            bins: dict[str, list[NewTarget]] = defaultdict(list)
            with path.open("rb") as file:
                for line in file:
                    name, length, sha256, custom = orjson.loads(line)
                    bins[self._succinct.get_role_for_target(name)].append(
                        NewTarget(TargetPath(name), length, Sha256(sha256), custom)
                    )
            yield from sorted(bins.items())

    def remove(self) -> None:
        """Give the disk back."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _flush(self, number: int) -> None:
        buffer = self._buffers[number]
        if buffer:
            with durable.storage_errors(), self._path(number).open("ab") as file:
                file.write(buffer)
            buffer.clear()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:02x}"
