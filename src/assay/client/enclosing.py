"""A run inside a run: ``tox`` under ``assay run`` whose environments call ``assay run`` again.

The outer run's proxy describes itself at an address that exists nowhere else. The inner run puts back the environment
that the user had before, and has a proxy of its own. Within a strict run there is no other way out than the outer
proxy: there an inner run of the same index and policy uses it, and the outer run explains and judges what is refused.
"""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from assay.client.environment import RunPlaces
from assay.model.digests import Sha256, parse_sha256
from assay.model.errors import AssayError, CallerError, RefusedByPolicy

HOST: Final = "run.assay.invalid"
"""Reserved for ever (RFC 6761): no name server knows it."""
USERNAME: Final = "assay"
MAX_BYTES: Final = 1_000_000
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class RunDescription:
    """What a run says of itself to the commands within. ``outside``: the user's own values of the variables that it
    set for them, None for one that was not there.
    """

    index: str
    trust_root: Sha256
    policy: Sha256
    places: RunPlaces
    is_strict: bool
    outside: Mapping[str, str | None]

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps(
            {
                "assay-run": _FORMAT,
                "index": self.index,
                "trust_root": self.trust_root,
                "policy": self.policy,
                "certificates": str(self.places.certificates),
                "caches": str(self.places.caches),
                "strict": self.is_strict,
                "outside": dict(self.outside),
            }
        )


@dataclass(frozen=True, slots=True)
class Enclosing:
    """The run around this one, and its ``proxy_url``."""

    proxy_url: str
    run: RunDescription

    def is_same(self, index: str, trust_root: Sha256, policy: Sha256) -> bool:
        """Would a run of these parameters verify what the enclosing one verifies?"""
        return (index, trust_root, policy) == (self.run.index, self.run.trust_root, self.run.policy)

    def leave(self, environ: MutableMapping[str, str]) -> None:
        """Put the user's own settings back. Raises RefusedByPolicy within a strict run, which has no way out."""
        if self.run.is_strict:
            raise RefusedByPolicy(
                "within a strict run only a run of the same index and policy is possible",
                rule="nested-run",
                expected=f"index {self.run.index}, policy sha256 {self.run.policy[:16]}",
                next_step="use the same index and policy, or run the outer command without --strict; nothing was run",
            )
        for name, value in self.run.outside.items():
            if value is None:
                environ.pop(name, None)
            else:
                environ[name] = value


def outside_of(parent: Mapping[str, str], child: Mapping[str, str]) -> dict[str, str | None]:
    """The variables in which ``child`` differs from ``parent``, with the parent's values."""
    return {name: parent.get(name) for name in {*parent, *child} if parent.get(name) != child.get(name)}


def proxy_of_a_run(environ: Mapping[str, str]) -> str | None:
    """The proxy in ``environ`` where it may be that of a run."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        proxy = environ.get(name, "")
        if proxy.startswith(f"http://{USERNAME}:") and "@127.0.0.1:" in proxy:
            return proxy
    return None


async def ask_enclosing(proxy: str) -> Enclosing | None:
    """The run behind ``proxy``, None where there is none (any more)."""
    from assay.fetch import Fetcher  # most runs are in no other

    try:
        async with Fetcher(environ={"http_proxy": proxy}) as fetcher:
            data = await fetcher.get(f"http://{HOST}/", max_bytes=MAX_BYTES)
        return Enclosing(proxy, _decode(data)) if data is not None else None
    except AssayError:
        return None


def _decode(data: bytes) -> RunDescription:
    try:
        document = orjson.loads(data)
        if document["assay-run"] != _FORMAT:
            raise ValueError("another format")
        places = RunPlaces(Path(document["certificates"]), Path(document["caches"]))
        return RunDescription(
            document["index"],
            parse_sha256(document["trust_root"]),
            parse_sha256(document["policy"]),
            places,
            bool(document["strict"]),
            dict(document["outside"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CallerError("not the description of a run", found=str(error)) from error
