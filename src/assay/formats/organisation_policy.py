"""The organisation's policy as a wheel: the smallest one that every index takes, with the files of the policy in it.

Pure: bytes in, bytes out; equal files make equal wheels.
"""

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping
from typing import Final

from assay.model.errors import CallerError
from assay.model.names import POLICY_PROJECT

FOLDER: Final = POLICY_PROJECT.replace("-", "_")
MAX_MEMBER_BYTES: Final = 1_000_000
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def render_policy_wheel(version: int, files: Mapping[str, bytes]) -> tuple[str, bytes]:
    """Filename and bytes of the wheel that carries ``files`` (the policy, and the trust roots that it names)."""
    info = f"{FOLDER}-{version}.dist-info"
    members = {f"{FOLDER}/{name}": data for name, data in sorted(files.items())}
    metadata = f"Metadata-Version: 2.1\nName: {POLICY_PROJECT}\nVersion: {version}\n"
    members[f"{info}/METADATA"] = metadata.encode()
    members[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: assay\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    rows = [f"{name},sha256={_record_hash(data)},{len(data)}" for name, data in members.items()]
    members[f"{info}/RECORD"] = "".join(f"{row}\n" for row in (*rows, f"{info}/RECORD,,")).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)
    return f"{FOLDER}-{version}-py3-none-any.whl", buffer.getvalue()


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A file of the policy. Raises CallerError."""
    try:
        member = archive.getinfo(f"{FOLDER}/{name}")
        if member.file_size > MAX_MEMBER_BYTES:
            raise _unreadable(name, f"{member.file_size} bytes")
        return archive.read(member)
    except KeyError as error:
        raise _unreadable(name, "no such file") from error


def _unreadable(name: str, found: str) -> CallerError:
    return CallerError(
        "the organisation's policy cannot be read",
        rule="policy-file",
        subject=f"{FOLDER}/{name}",
        found=found,
        next_step="its operator publishes it again: assay policy publish",
    )


def _record_hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
