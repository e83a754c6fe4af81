"""How readers fetch: from a data folder, as nginx would serve it, or over HTTP. A name is a URL's path."""

import re
from collections.abc import Callable

from assay.index.blobs import BlobStore
from assay.index.config import DataFolder
from assay.model.digests import Sha256
from e2e.house import ask

Read = Callable[[str], bytes | None]

_HASHED = re.compile(r"packages/[^/]+/[^/]+/([0-9a-f]{64})\.[^/]+")


def read_folder(data: DataFolder) -> Read:
    """What lies in ``data``: files by the hash in their name, everything else as it is published."""
    blobs = BlobStore(data.blobs)

    def read(name: str) -> bytes | None:
        hashed = _HASHED.fullmatch(name)
        path = data.published / name
        if hashed is not None and not path.exists():
            path = blobs.path(Sha256(hashed[1]))
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    return read


def read_url(url: str) -> Read:
    """What the index at ``url`` (ending with a slash) answers."""

    def read(name: str) -> bytes | None:
        answer = ask(url + name)
        if answer.status == 404:
            return None
        assert answer.status == 200, (name, answer)
        return answer.body

    return read


def role_name(filename: str) -> tuple[int, str]:
    """Version and role file of ``<version>.<role>.json``."""
    version, _, name = filename.partition(".")
    return int(version), name
