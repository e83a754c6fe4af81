"""A source with a few small distributions, and ways to ask for them through the proxy."""

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import aiohttp

from assay.client.discover import PipSettings
from assay.client.proxy.routes import cover
from assay.client.run import RunningProxy, RunReport, RunSetting, run_verified, running_proxy
from assay.model.digests import Sha256
from assay.model.errors import VerificationFailed
from assay.policy.model import Policy
from assay.policy.parse import no_files, parse_layer
from client.memory_source import OWN_URL, UPSTREAM_FILES, UPSTREAM_SIMPLE, MemorySource
from client.small_distributions import backend_wheel, build_sdist, build_wheel, wheel_metadata

DEMO_OLD, DEMO, DEP = "demo-1.0-py3-none-any.whl", "demo-1.1-py3-none-any.whl", "dep-1.0-py3-none-any.whl"
OWN, NO_SIDECAR = "own-1.0-py3-none-any.whl", "nosidecar-1.0-py3-none-any.whl"
SDIST, BACKEND = "fromsource-1.0.tar.gz", "backend-1.0-py3-none-any.whl"

FORGED = VerificationFailed(
    "the file is not what was vouched for",
    subject=DEMO,
    rule="target-hash",
    expected="sha256 aaaa",
    found="sha256 bbbb",
    next_step="tell the operator of the index",
)


def small_source(folder: Path) -> MemorySource:
    """demo 1.0 and 1.1 need dep; own is no upstream's; nosidecar has no sidecar; fromsource needs backend to build."""
    folder.mkdir(parents=True, exist_ok=True)
    source = MemorySource(folder)
    for version in ("1.0", "1.1"):
        source.add(
            f"demo-{version}-py3-none-any.whl",
            build_wheel("demo", version, requires=["dep"]),
            metadata=wheel_metadata("demo", version, ["dep"]),
        )
    source.add(DEP, build_wheel("dep", "1.0"), metadata=wheel_metadata("dep", "1.0"))
    source.add(OWN, build_wheel("own", "1.0"), metadata=wheel_metadata("own", "1.0"), from_upstream=False)
    source.add(NO_SIDECAR, build_wheel("nosidecar", "1.0", requires=["dep"]))
    source.add(SDIST, build_sdist("fromsource", "1.0", build_requires=["backend"], backend="backend_backend"))
    built = build_wheel("fromsource", "1.0")
    source.add(
        BACKEND,
        backend_wheel("backend", built, "fromsource-1.0-py3-none-any.whl"),
        metadata=wheel_metadata("backend", "1.0"),
    )
    return source


def add_young(source: MemorySource) -> str:
    """demo 2.0, uploaded yesterday."""
    filename = "demo-2.0-py3-none-any.whl"
    source.add(filename, build_wheel("demo", "2.0"), metadata=wheel_metadata("demo", "2.0"), age=timedelta(days=1))
    return filename


def clean_environ(home: Path) -> dict[str, str]:
    """This process's environment without the settings of pip and uv, and with an empty home."""
    home.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "XDG_", "PYTHON"))}
    return kept | {"HOME": str(home), "XDG_CONFIG_DIRS": str(home / "nothing")}


@dataclass(frozen=True)
class Bench:
    """One user's machine: a source, a home, a cache folder."""

    folder: Path
    source: MemorySource
    policy: Policy = field(default_factory=Policy)
    pip: PipSettings = field(default_factory=PipSettings)
    environ: Mapping[str, str] = field(default_factory=dict)
    allows_detours: bool = False

    def with_policy(self, **keys: object) -> "Bench":
        """With ``keys`` as the top of the project's policy file; ``except_`` stands for ``except``."""
        lines = (f"{key.rstrip('_')} = {json.dumps(value)}\n" for key, value in keys.items())
        return self.with_policy_file("".join(lines))

    def with_policy_file(self, text: str, name: str = "project") -> "Bench":
        return replace(self, policy=self.policy.with_layers([parse_layer(text.encode(), name, name, no_files)]))

    @property
    def setting(self) -> RunSetting:
        return RunSetting(
            index=self.source,
            simple_urls=(UPSTREAM_SIMPLE,),
            trust_root=Sha256("0" * 64),
            cache_root=self.folder / "cache",
            environ=clean_environ(self.folder / "home") | dict(self.environ),
            policy=self.policy,
            pip=self.pip,
            allows_detours=self.allows_detours,
        )

    def run(self, *command: str) -> RunReport:
        return asyncio.run(run_verified(command, self.setting))

    @asynccontextmanager
    async def proxy(self) -> AsyncIterator["Asker"]:
        """A running proxy, and a client that uses it as a command would."""
        setting = self.setting
        async with (
            running_proxy(setting, cover(setting.index.url, setting.simple_urls)) as proxy,
            aiohttp.ClientSession(auto_decompress=False) as session,
        ):
            yield Asker(proxy, session, ssl.create_default_context(cafile=proxy.certificates))


@dataclass(frozen=True)
class Answer:
    status: int
    reason: str | None
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Asker:
    proxy: RunningProxy
    session: aiohttp.ClientSession
    tls: ssl.SSLContext

    async def get(self, url: str, *, method: str = "GET", **headers: str) -> Answer:
        """Ask for ``url``; header names with underscores in the place of dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(
            method, url, headers=named, proxy=self.proxy.front.url, ssl=self.tls, allow_redirects=False
        ) as response:
            return Answer(response.status, response.reason, response.headers.copy(), await response.read())

    def rules(self) -> Sequence[str]:
        """The rules of what was refused so far."""
        return [refusal.error.rule for refusal in self.proxy.refusals.all()]


__all__ = ["OWN_URL", "UPSTREAM_FILES", "UPSTREAM_SIMPLE"]
