"""The index's connections to its witnesses: all are asked at once, the first sufficient answers count.

A witness that is slower still gets every candidate, so that both know all; one that is busy with an older candidate
skips those in between (it says later what it lacks). What an answer is worth is decided by ``cosign``.
"""

import http.client
import logging
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from securesystemslib.signer import Signer

from assay import __version__
from assay.model.errors import AssayError, OperatorError, Unreachable, WitnessRefused
from assay.trust.candidate import (
    BODY_CLAIM,
    MAX_ANSWER_BYTES,
    Candidate,
    Cosignatures,
    Lacking,
    decode_answer,
    encode_candidate,
    render_body_claim,
)

log = logging.getLogger(__name__)

MIN_BYTES_PER_S = 1_000_000
MAX_ROUNDS = 3
"""A candidate, and twice again with what the witness lacked."""


class WitnessAddress(Protocol):
    """A witness as the configuration names it."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    @property
    def url(self) -> str:
        """Where it answers."""

    @property
    def timeout_s(self) -> float:
        """How long it is waited for."""


class WitnessesSilent(Unreachable):
    """Too few witnesses answered: what was drafted waits."""

    default_rule = "witnesses-silent"


Supply = Callable[[Candidate, Lacking], Candidate]
"""The candidate again, with what a witness lacks."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one witness said: its signatures, or why there are none."""

    name: str
    cosignatures: Cosignatures | None
    error: AssayError | None = None

    @property
    def is_refusal(self) -> bool:
        """Whether the witness judged and said no (not: did not answer)."""
        return isinstance(self.error, WitnessRefused)


@dataclass(slots=True)
class _Link:
    """One witness, over one connection that is kept open; used by one thread at a time."""

    address: WitnessAddress
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="witness"))
    connection: http.client.HTTPConnection | None = None
    newest: int = 0

    def ask(self, number: int, body: bytes, candidate: Candidate, supply: Supply, signer: Signer) -> Verdict:
        """Ask, unless a newer candidate waits already."""
        name = self.address.name
        if number < self.newest:
            return Verdict(name, None, Unreachable("still busy with an older publication", subject=name))
        try:
            return Verdict(name, self._ask(body, candidate, supply, signer))
        except AssayError as error:
            return Verdict(name, None, error)

    def _ask(self, body: bytes, candidate: Candidate, supply: Supply, signer: Signer) -> Cosignatures:
        for _ in range(MAX_ROUNDS):
            answer = decode_answer(self._post(body, render_body_claim(body, signer)))
            if isinstance(answer, Cosignatures):
                return answer
            candidate = supply(candidate, answer)
            body = encode_candidate(candidate)
        raise WitnessRefused("this witness lacks more with every answer", subject=self.address.name, rule="lacking")

    def _post(self, body: bytes, claim: str) -> bytes:
        url = urlsplit(self.address.url)
        for is_last in (self.connection is None, True):
            try:
                return self._exchange(f"{url.path.rstrip('/')}/cosign", body, claim)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if is_last or isinstance(error, TimeoutError):
                    raise Unreachable(
                        f"no answer: {error or type(error).__name__}", subject=self.address.name, rule="witness-silent"
                    ) from error
        raise Unreachable("no answer", subject=self.address.name, rule="witness-silent")

    def _exchange(self, path: str, body: bytes, claim: str) -> bytes:
        if self.connection is None:
            self.connection = _connect(self.address)
        headers = {"Content-Type": "application/json", "User-Agent": f"assay/{__version__}", BODY_CLAIM: claim}
        self.connection.request("POST", path, body, headers)
        response = self.connection.getresponse()
        answer = response.read(MAX_ANSWER_BYTES + 1)
        if len(answer) > MAX_ANSWER_BYTES:
            raise http.client.HTTPException("the answer is longer than it may be")
        return answer

    def close(self) -> None:
        """Give up the connection."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def _connect(address: WitnessAddress) -> http.client.HTTPConnection:
    url = urlsplit(address.url)
    if url.hostname is None or url.scheme not in ("http", "https"):
        raise OperatorError("not the URL of a witness", subject=address.url, rule="config")
    if url.scheme == "http":
        return http.client.HTTPConnection(url.hostname, url.port, timeout=address.timeout_s)
    context = ssl.create_default_context()
    return http.client.HTTPSConnection(url.hostname, url.port, timeout=address.timeout_s, context=context)


class WitnessPanel:
    """The witnesses of an index. Use from one thread."""

    def __init__(self, addresses: Sequence[WitnessAddress]) -> None:
        self._links = [_Link(address) for address in addresses]
        self._number = 0

    @property
    def names(self) -> list[str]:
        """Who may be asked."""
        return [link.address.name for link in self._links]

    def ask(
        self,
        candidate: Candidate,
        supply: Supply,
        accept: Callable[[Verdict], Verdict],
        needed: int,
        signer: Signer,
    ) -> list[Verdict]:
        """Ask everybody at once; returns once ``needed`` said yes, or everybody was heard.

        ``accept`` looks an answer over and may turn a yes into a no; ``signer``: the index's snapshot key. Who is
        slower goes on being asked.
        """
        self._number += 1
        body = encode_candidate(candidate)
        asked: dict[Future[Verdict], _Link] = {}
        for link in self._links:
            link.newest = self._number
            asked[link.pool.submit(link.ask, self._number, body, candidate, supply, signer)] = link
        patience_s = MAX_ROUNDS * max(link.address.timeout_s for link in self._links) + len(body) / MIN_BYTES_PER_S
        heard: list[Verdict] = []
        try:
            for future in as_completed(asked, patience_s):
                heard.append(accept(future.result()))
                del asked[future]
                if sum(each.cosignatures is not None for each in heard) >= needed:
                    break
        except TimeoutError:
            late = [link.address.name for link in asked.values()]
            heard += [Verdict(name, None, Unreachable("still working", rule="witness-silent")) for name in late]
        for verdict in heard:
            if verdict.error is not None:
                log.warning("witness %s does not co-sign: %s [%s]", verdict.name, verdict.error, verdict.error.rule)
        return heard

    def close(self) -> None:
        """Ask nobody any more; what is under way ends by itself."""
        for link in self._links:
            link.newest = self._number + 1
            link.pool.submit(link.close)
            link.pool.shutdown(wait=False)
