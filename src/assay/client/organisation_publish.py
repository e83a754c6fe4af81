"""Publishing the organisation's policy: read as every client will read it, then uploaded as the next version."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from assay import durable
from assay.client.developer import LocalFile
from assay.client.organisation import current_policy
from assay.client.policies import ORGANISATION, load_layer
from assay.client.registry import TrustedEntry, opened
from assay.client.sending import Uploader
from assay.formats.organisation_policy import render_policy_wheel
from assay.model.distributions import parse_distribution
from assay.model.errors import CallerError
from assay.policy.compare import loosened
from assay.policy.model import Layer
from assay.policy.parse import POLICY_FILENAME, parse_layer


async def publish_policy(entry: TrustedEntry, path: Path, token: str | None, out: Path | None) -> dict[str, Any]:
    """Publish the policy at ``path`` with the files that it names; without a ``token`` only write the wheel to ``out``.

    Returns what was done, and what it loosens. Raises CallerError for a policy that clients could not read,
    NotAllowed, Unreachable.
    """
    files = _files(path)
    async with opened(entry) as index:
        version, before = await current_policy(index)
    filename, data = render_policy_wheel(version + 1, files)
    after = parse_layer(files[POLICY_FILENAME], ORGANISATION, filename, lambda name: files[name])
    result = {"file": filename, "version": version + 1, "sha256": hashlib.sha256(data).hexdigest()}
    result["loosened"] = list(loosened(before or Layer(ORGANISATION, "none"), after))
    if out is not None or token is None:
        out = out or Path()
        durable.make_folder(out)
        durable.write_file(out / filename, data)
        return result | {"file": str(out / filename)}
    with tempfile.TemporaryDirectory() as folder:
        wheel = Path(folder) / filename
        wheel.write_bytes(data)
        local = LocalFile(wheel, parse_distribution(filename), len(data), str(result["sha256"]))
        await Uploader(entry.url, token).send_file(local)
    return result


def _files(path: Path) -> dict[str, bytes]:
    """The policy and the files that it names, which must lie beside it."""
    named: dict[str, bytes] = {}

    def read_file(name: str) -> bytes:
        if Path(name).name != name or name == POLICY_FILENAME:
            raise CallerError(
                "the organisation's policy can only name files beside it", rule="policy-file", subject=name
            )
        named[name] = (path.parent / name).read_bytes()
        return named[name]

    load_layer(path, ORGANISATION)
    data = path.read_bytes()
    parse_layer(data, ORGANISATION, str(path), read_file)
    return {POLICY_FILENAME: data, **named}
