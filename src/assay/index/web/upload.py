"""POST to ``/legacy/``: the upload, streamed to disk and handed to admission.

Invariants: who asks is known before a byte of the body is read; every wait and every size is bounded; the file is gone
afterwards unless ``publish`` moved it; 200 is sent only after ``publish`` has returned.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final

import orjson

from assay.formats.negotiation import asks_for
from assay.formats.upload_form import parse_upload_form
from assay.index.web.asgi import NO_STORE, NOSNIFF, Receive, Request, Send, respond, respond_text
from assay.index.web.authentication import Authentication
from assay.index.web.body import ClientLeft, body_chunks
from assay.index.web.incoming import IncomingFile, incoming_file, require_room
from assay.index.web.multipart import FormReader, ReceivedForm, parse_boundary, too_large_file
from assay.index.web.places import Place, Places
from assay.index.web.rates import Rate
from assay.index.web.services import ReceivedUpload, WebServices
from assay.model.errors import CallerError, TooMany
from assay.model.permissions import Principal

WRITE_BYTES: Final = 524_288
"""The file's bytes are written and hashed in pieces of this size."""

_PART_OVERHEAD_BYTES: Final = 512
_MAX_LENGTH_DIGITS: Final = 15
_MINUTE_S: Final = 60.0


class Uploads:
    """The upload address. Threads of its own, so that uploads that wait for the signer hold nothing else up."""

    def __init__(self, services: WebServices, authentication: Authentication) -> None:
        self._services = services
        self._authentication = authentication
        self._limits = services.upload_limits
        self._rate = Rate("uploads of this user", services.uploads_per_minute, _MINUTE_S)
        self._places = Places(self._limits)
        self._slots = asyncio.Semaphore(self._limits.max_uploads)
        self._publishing = ThreadPoolExecutor(self._limits.max_uploads, "publish")

    async def close(self) -> None:
        """Wait for what is being published and end the threads. The loop goes on: publications may need it."""
        await asyncio.to_thread(self._publishing.shutdown)

    async def answer(self, request: Request, receive: Receive, send: Send) -> None:
        """Receive and publish one upload. Raises CallerError and OperatorError."""
        principal = await self._authentication.require(request)
        self._rate.take(principal.user)
        boundary = parse_boundary(request.header(b"content-type"))
        length = _declared_length(request)
        if length is not None and length > self._max_body_bytes:
            raise too_large_file(self._limits.max_file_bytes)
        try:
            async with self._places.take(principal.user) as place:
                require_room(self._services.incoming, length or 0, self._limits.min_free_bytes)
                upload, notes = await self._receive_and_publish(receive, boundary, principal, place)
        except ClientLeft:
            return
        await _respond_published(request, send, upload, notes)

    async def _receive_and_publish(
        self, receive: Receive, boundary: bytes, principal: Principal, place: Place
    ) -> tuple[ReceivedUpload, Sequence[str]]:
        reader = FormReader(boundary, self._limits.form, self._limits.max_file_bytes)
        async with incoming_file(self._services.incoming) as file:
            async for data in body_chunks(receive, self._max_body_bytes, self._limits):
                place.received += len(data)
                reader.feed(data)
                await self._limit_to_project(reader)
                if reader.pending_bytes >= WRITE_BYTES:
                    await file.write(reader.take_content())
            await file.write(reader.take_content())
            place.is_whole = True
            upload = _complete(reader.finish(), file)
            async with self._slot():
                loop = asyncio.get_running_loop()
                notes = await loop.run_in_executor(self._publishing, self._services.publish, upload, principal)
            return upload, notes

    async def _limit_to_project(self, reader: FormReader) -> None:
        """Once the form has said which project it is for, the file may be no larger than the project has room."""
        room_of, project = self._services.project_room, reader.unlimited_project
        if room_of is not None and project is not None:
            loop = asyncio.get_running_loop()
            reader.limit_file(project, await loop.run_in_executor(self._authentication.pool, room_of, project))

    @property
    def _max_body_bytes(self) -> int:
        form = self._limits.form
        overhead = form.max_text_bytes + form.max_signature_bytes + form.max_fields * _PART_OVERHEAD_BYTES
        return self._limits.max_file_bytes + overhead

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """A turn among the uploads that are being published. Raises TooMany after ``queue_s``."""
        try:
            async with asyncio.timeout(self._limits.queue_s):
                await self._slots.acquire()
        except TimeoutError as error:
            raise TooMany(
                "too many uploads are under way", rule="upload-queue", next_step="try again in a few seconds"
            ) from error
        try:
            yield
        finally:
            self._slots.release()


def _declared_length(request: Request) -> int | None:
    """``Content-Length`` in bytes; None for a chunked body. Raises CallerError."""
    text = request.header(b"content-length")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_LENGTH_DIGITS:
        raise CallerError("not a length", subject="Content-Length", found=repr(text[:40]))
    return int(text)


def _complete(form: ReceivedForm, file: IncomingFile) -> ReceivedUpload:
    """The upload, with its fields parsed and its declared digests compared. Raises InvalidUpload."""
    parsed = parse_upload_form(form.fields, form.filename, signature=form.signature)
    digests = file.digests()
    parsed.digests.require_match(digests)
    return ReceivedUpload(parsed, file.path, file.size, digests)


async def _respond_published(request: Request, send: Send, upload: ReceivedUpload, notes: Sequence[str]) -> None:
    distribution, sha256 = upload.form.distribution, upload.digests.sha256
    if not asks_for(request.header(b"accept"), "application/json"):
        lines = (f"{distribution.filename} is published, sha256 {sha256}", *(f"note: {note}" for note in notes))
        await respond_text(send, 200, "\n".join(lines))
        return
    receipt = {
        "project": distribution.project,
        "version": distribution.version,
        "filename": distribution.filename,
        "sha256": sha256,
        "notes": list(notes),
    }
    await respond(send, 200, [(b"content-type", b"application/json"), NOSNIFF, NO_STORE], orjson.dumps(receipt))
