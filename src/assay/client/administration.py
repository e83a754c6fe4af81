"""Administering an index from another machine: one POST for each operation."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from assay.client.sending import TokenHolder
from assay.model.errors import CallerError, Unreachable

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class Administrator(TokenHolder):
    """A token with the action ``admin`` at the index ``url``. Raises CallerError where it would travel unencrypted."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CallerError("not the address of an index", subject=url[:200], expected="https://HOST/")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise CallerError(
                "an administrator's token is sent over https only",
                subject=url[:200],
                rule="plain-http",
                next_step="serve the index with --tls-cert and --tls-key, or work on its data folder with --data",
            )
        super().__init__(url if url.endswith("/") else f"{url}/", token)

    async def perform(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Have ``operation`` done; returns its result. Raises as ``post``."""
        body = orjson.dumps(parameters)
        answer = await self.post(f"admin/{operation}", body, len(body))
        try:
            result = orjson.loads(answer)
        except orjson.JSONDecodeError as error:
            raise Unreachable("the answer is not that of an index", subject=self._url) from error
        return dict(result)
