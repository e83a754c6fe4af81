"""Small real wheels and sdists, written by hand."""

import base64
import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence

_TIME = (2026, 1, 1, 0, 0, 0)


def wheel_metadata(name: str, version: str, requires: Sequence[str] = ()) -> bytes:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", "Summary: a small wheel"]
    return ("\n".join([*lines, *(f"Requires-Dist: {line}" for line in requires)]) + "\n").encode()


def build_wheel(
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    files: Mapping[str, bytes] | None = None,
    more_metadata: str = "",
) -> bytes:
    """A pure wheel with one module called as the project, that PyPA tools install."""
    info = f"{name}-{version}.dist-info"
    members = {
        f"{name}.py": f"VERSION = {version!r}\n".encode(),
        **(files or {}),
        f"{info}/METADATA": wheel_metadata(name, version, requires) + more_metadata.encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_record_hash(data)},{len(data)}\n" for path, data in members.items())
    members[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for path, data in members.items():
            archive.writestr(zipfile.ZipInfo(path, _TIME), data)
    return out.getvalue()


def build_sdist(name: str, version: str, *, build_requires: Sequence[str], backend: str) -> bytes:
    """An sdist whose build backend is the module ``backend`` of a build dependency."""
    project = f"[build-system]\nrequires = {list(build_requires)!r}\nbuild-backend = {backend!r}\n"
    project += f"[project]\nname = {name!r}\nversion = {version!r}\n"
    stem = f"{name}-{version}"
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for path, data in {
            f"{stem}/pyproject.toml": project.encode(),
            f"{stem}/PKG-INFO": wheel_metadata(name, version),
        }.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), mtime=0)


def backend_wheel(name: str, built: bytes, built_filename: str) -> bytes:
    """A build backend (PEP 517) that always "builds" the wheel ``built``."""
    encoded = base64.b64encode(built).decode()
    source = f"""
import base64, pathlib
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    pathlib.Path(wheel_directory, {built_filename!r}).write_bytes(base64.b64decode({encoded!r}))
    return {built_filename!r}
"""
    return build_wheel(name, "1.0", files={f"{name}_backend.py": source.encode()})


def _record_hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
