"""Small real wheels and sdists, built on the spot: what the demo publishes, and what its attacker puts in their place.

Equal arguments give equal bytes. The metadata depends on name, version and requirements alone, so that the attacker's
wheel differs from the genuine one in its modules only.
"""

import base64
import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TIME = (2026, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Release:
    """One version of a pure Python project. ``modules``: file names inside the wheel and their bytes."""

    name: str
    version: str
    modules: Mapping[str, bytes]
    requires: Sequence[str] = ()

    @property
    def stem(self) -> str:
        """``<name>-<version>`` as it begins file names (PEP 625, PEP 427)."""
        return f"{self.name.replace('-', '_')}-{self.version}"

    @property
    def wheel_name(self) -> str:
        """The wheel's filename."""
        return f"{self.stem}-py3-none-any.whl"

    @property
    def sdist_name(self) -> str:
        """The sdist's filename."""
        return f"{self.stem}.tar.gz"

    def metadata(self) -> bytes:
        """METADATA and PKG-INFO."""
        lines = ["Metadata-Version: 2.2", f"Name: {self.name}", f"Version: {self.version}"]
        lines += ["Summary: a small project of assay's demo", "Requires-Python: >=3.11"]
        lines += [f"Requires-Dist: {requirement}" for requirement in self.requires]
        return "\n".join([*lines, ""]).encode()


def build_wheel(release: Release) -> bytes:
    """The wheel of ``release``, uncompressed, so that a flipped byte is a flipped byte of a module."""
    info = f"{release.stem}.dist-info"
    members = {
        **release.modules,
        f"{info}/METADATA": release.metadata(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: assay demo\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},sha256={_record_digest(data)},{len(data)}\n" for name, data in members.items())
    members[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, _TIME), data)
    return out.getvalue()


def build_sdist(release: Release) -> bytes:
    """The sdist of ``release``."""
    project = f'[project]\nname = "{release.name}"\nversion = "{release.version}"\n'
    members = {"pyproject.toml": project.encode(), "PKG-INFO": release.metadata(), **release.modules}
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(f"{release.stem}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), mtime=0)


def write_distributions(release: Release, folder: Path) -> list[Path]:
    """Build wheel and sdist of ``release`` into ``folder``; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    built = {release.wheel_name: build_wheel(release), release.sdist_name: build_sdist(release)}
    for name, data in built.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in built]


def _record_digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
