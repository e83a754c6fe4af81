"""Somebody else's index on loopback: PEP 691 pages and files from memory, and a record of everything it was asked."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

JSON = "application/vnd.pypi.simple.v1+json"


@dataclass
class Upstream:
    """``files``: by project and filename. ``shown``: hashes that the pages give instead of the true ones.

    ``provenance``: what is announced for a filename (PEP 740), and served unless it is empty.
    """

    url: str = ""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, bytes] = field(default_factory=dict)
    uploaded: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def simple_url(self) -> str:
        return f"{self.url}/simple/"

    def add(self, project: str, filename: str, data: bytes) -> None:
        self.files.setdefault(project, {})[filename] = data

    def answer(self, path: str) -> tuple[str, bytes] | None:
        parts = path.strip("/").split("/")
        if len(parts) == 2 and parts[0] == "simple" and parts[1] in self.files:
            return JSON, json.dumps(self._page(parts[1])).encode()
        if len(parts) == 2 and parts[0] == "integrity" and self.provenance.get(parts[1]):
            return "application/vnd.pypi.integrity.v1+json", self.provenance[parts[1]]
        if len(parts) == 3 and parts[0] == "files":
            data = self.files.get(parts[1], {}).get(parts[2])
            return ("application/octet-stream", data) if data is not None else None
        return None

    def _page(self, project: str) -> dict[str, object]:
        files = [
            {
                "filename": name,
                "url": f"{self.url}/files/{project}/{name}",
                "hashes": {"sha256": self.shown.get(name, hashlib.sha256(data).hexdigest())},
                "size": len(data),
                "upload-time": self.uploaded.get(name, "2026-01-01T00:00:00Z"),
                **({"provenance": f"{self.url}/integrity/{name}"} if name in self.provenance else {}),
            }
            for name, data in self.files[project].items()
        ]
        return {"meta": {"api-version": "1.1"}, "name": project, "versions": [], "files": files}


@contextmanager
def running_upstream() -> Iterator[Upstream]:
    upstream = Upstream()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            upstream.asked.append(self.path)
            found = upstream.answer(self.path)
            content_type, body = found or ("text/plain", b"no such thing")
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    upstream.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield upstream
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
