"""``assay serve``: the supervisor of signer and web.

It binds the address, makes sure the index exists, starts the two processes and starts them again when they end. It
opens no request and signs nothing.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from assay.index.children import Child
from assay.index.config import DataFolder, load_config
from assay.index.establish import Established
from assay.index.published import TIMESTAMP_NAME, PublishedStore
from assay.index.ready import make_ready
from assay.index.recovery.freeze import require_thawed
from assay.index.upkeep.housekeeping import start_housekeeping
from assay.model.errors import OperatorError

START_TIMEOUT_S = 60.0
WATCH_S = 0.2
ANY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104 - announced, not bound


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Where and how to serve. ``port`` 0: any free one. ``idle_exit_s``: end after so long without a request."""

    data: DataFolder
    host: str = "127.0.0.1"
    port: int = 8421
    tls_cert: Path | None = None
    tls_key: Path | None = None
    passphrase: str | None = None
    upstream: str | None = None
    web_user: str = "nobody"
    idle_exit_s: float | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """An index that answers at ``url``."""

    url: str
    established: Established


def serve(options: ServeOptions, ready: Callable[[Running], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``ready`` is called once the index answers. Raises OperatorError."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    options.data.make()
    with only_process(options.data), _listening(options) as listener:
        require_thawed(options.data)
        config = load_config(options.data.config_file)
        passphrase = options.passphrase.encode() if options.passphrase is not None else None
        established = make_ready(options.data, config, passphrase, datetime.now(UTC))
        start_housekeeping(options.data, config, passphrase, stopping)
        _give_to_web(options)
        signer = Child("assay.index.signer", [str(options.data.root)], {"passphrase": options.passphrase})
        web = Child("assay.index.web", [str(options.data.root)], _web_settings(options, listener), [listener.fileno()])
        try:
            running = Running(_url(options, listener), established)
            _supervise(options, [signer, web], stopping, lambda: ready(running))
        finally:
            web.stop()
            signer.stop()


def _supervise(
    options: ServeOptions, children: list[Child], stopping: threading.Event, ready: Callable[[], None]
) -> None:
    started = time.monotonic()
    announced = False
    while not stopping.is_set():
        for child in children:
            if child.has_ended and not announced:
                raise OperatorError(f"{child.module} ended before it was ready", next_step="see the messages above")
            child.ensure_running()
        if not announced:
            announced = _answers(options)
            if announced:
                ready()
            elif time.monotonic() - started > START_TIMEOUT_S:
                raise OperatorError("signer or web did not start", next_step="see the messages above")
        if announced and _is_idle(options):
            return
        stopping.wait(WATCH_S if announced else 0.02)


def _answers(options: ServeOptions) -> bool:
    return PublishedStore(options.data.published).read(TIMESTAMP_NAME) is not None and web_is_up(options.data)


def web_is_up(data: DataFolder) -> bool:
    """Whether the web process said that it takes requests."""
    return data.web_marker.exists()


def _is_idle(options: ServeOptions) -> bool:
    if options.idle_exit_s is None:
        return False
    return time.time() - options.data.web_marker.stat().st_mtime > options.idle_exit_s


def _web_settings(options: ServeOptions, listener: socket.socket) -> dict[str, object]:
    tls = options.tls_cert is not None
    return {
        "descriptor": listener.fileno(),
        "tls_cert": str(options.tls_cert) if tls else None,
        "tls_key": str(options.tls_key) if tls else None,
        "upstream": options.upstream,
        "user": options.web_user if _runs_as_other_user(options) else None,
    }


def _runs_as_other_user(options: ServeOptions) -> bool:
    from assay.index import confine

    if os.name != "posix" or os.geteuid() != 0:
        return False
    return confine.can_reach(options.web_user, options.data.ledger_file, Path(os.__file__), Path(__file__))


def _give_to_web(options: ServeOptions) -> None:
    """Hand the folders that web writes to its user."""
    if not _runs_as_other_user(options):
        return
    data = options.data
    for top in (data.ledger_file.parent, data.blobs, data.incoming, data.socket.parent):
        for path in (top, *top.rglob("*")):
            _own(path, options.web_user)


def _own(path: Path, user: str) -> None:
    import pwd

    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)


def _url(options: ServeOptions, listener: socket.socket) -> str:
    """The address to announce: by the name that was asked for, because a certificate holds for a name."""
    scheme = "https" if options.tls_cert is not None else "http"
    host = socket.gethostname() if options.host in ANY_ADDRESS else options.host
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/"


@contextmanager
def _listening(options: ServeOptions) -> Iterator[socket.socket]:
    try:
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        listener = socket.create_server((options.host, options.port), family=family, backlog=1024)
    except OSError as error:
        raise OperatorError(
            f"cannot listen: {error.strerror}",
            subject=f"{options.host}:{options.port}",
            rule="listen",
            next_step="choose another --port, or stop what listens there",
        ) from error
    with listener:
        listener.set_inheritable(True)
        yield listener


@contextmanager
def only_process(data: DataFolder) -> Iterator[None]:
    """One supervisor, or one import, per data folder. Raises OperatorError where there is another."""
    import fcntl

    with (data.socket.parent / "serve.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OperatorError(
                "this data folder is served already", subject=str(data.root), rule="served-already"
            ) from None
        data.web_marker.unlink(missing_ok=True)
        yield
