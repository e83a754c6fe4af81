"""Sending what a developer signed to the index: a role by itself, or a file together with its role."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import orjson

from assay import __version__
from assay.client.developer import LocalFile
from assay.http1.dialling import system_tls
from assay.model.distributions import DistributionKind
from assay.model.errors import CallerError, NotAllowed, OperatorError, Unreachable
from assay.model.names import ProjectName

MAX_ANSWER_BYTES: Final = 16_000_000
CONNECT_S: Final = 15.0
ANSWER_S: Final = 180.0
MIN_BYTES_PER_S: Final = 4_096


class TokenHolder:
    """One token at one index, whose address ends with a slash."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token

    async def post(self, path: str, body: Any, size: int) -> bytes:
        """The index's answer to ``body``, ``size`` bytes. Raises CallerError, OperatorError, Unreachable."""
        url = self._url + path
        try:
            async with self._session(size) as session, session.post(url, data=body) as response:
                answer = await _read(response)
                if response.status != HTTPStatus.OK:
                    raise _refusal(response.status, answer, url)
                return answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(
                f"no answer: {error or type(error).__name__}", subject=url, next_step="run the command again"
            ) from error

    @asynccontextmanager
    async def _session(self, size: int) -> AsyncIterator[aiohttp.ClientSession]:
        timeout = aiohttp.ClientTimeout(total=ANSWER_S + size / MIN_BYTES_PER_S, sock_connect=CONNECT_S)
        headers = {
            "User-Agent": f"assay/{__version__}",
            "Authorization": f"Bearer {self._token}",
            "Accept": "application/json",
        }
        connector = aiohttp.TCPConnector(ssl=system_tls())
        async with aiohttp.ClientSession(
            connector=connector, trust_env=True, headers=headers, timeout=timeout
        ) as session:
            yield session


class Uploader(TokenHolder):
    """Each method returns when the index has published."""

    async def send_role(self, project: ProjectName, role: bytes) -> None:
        """A role without files: a first claim, a renewal, other keys. Raises NotAllowed, CallerError, Unreachable."""
        await self.post(f"claims/{project}", role, len(role))

    async def send_file(self, file: LocalFile, role: bytes | None = None) -> None:
        """A file, with the role that lists it where its project is claimed. Raises as ``send_role``."""
        with file.path.open("rb") as stream:
            form = aiohttp.FormData()
            for name, value in _fields(file).items():
                form.add_field(name, value)
            if role is not None:
                form.add_field("assay_claim", role.decode())
            form.add_field("content", stream, filename=file.path.name, content_type="application/octet-stream")
            await self.post("legacy/", form, file.size)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    answer = bytearray()
    async for chunk in response.content.iter_any():
        answer += chunk
        if len(answer) > MAX_ANSWER_BYTES:
            raise Unreachable("the answer is too long", subject=str(response.url))
    return bytes(answer)


def _fields(file: LocalFile) -> Mapping[str, str]:
    distribution = file.distribution
    is_wheel = distribution.kind is DistributionKind.WHEEL
    return {
        ":action": "file_upload",
        "protocol_version": "1",
        "metadata_version": "2.1",
        "name": distribution.project,
        "version": distribution.version,
        "filetype": distribution.kind.value,
        "pyversion": file.path.stem.split("-")[-3] if is_wheel else "source",
        "sha256_digest": file.sha256,
    }


def _refusal(status: int, answer: bytes, url: str) -> Exception:
    """What the index answered, as the error that it raised there (RFC 9457)."""
    try:
        problem = orjson.loads(answer)
        facts = {name: problem.get(name) for name in ("rule", "subject", "expected", "found")}
        what = str(problem.get("detail") or "refused")
    except (ValueError, AttributeError):
        facts, what = {}, answer.decode("utf-8", "replace").strip()[:500] or "refused"
    facts = {name: str(value) for name, value in facts.items() if value is not None}
    kind = NotAllowed if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) else CallerError
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        kind_of_error: type[OperatorError] = OperatorError
        return kind_of_error(f"the index refused: {what}", rule=facts.get("rule"), subject=url)
    return kind(f"the index refused: {what}", rule=facts.get("rule"), subject=facts.get("subject") or url)
