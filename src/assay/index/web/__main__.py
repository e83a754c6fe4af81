"""The web process: ``python -m assay.index.web DATA``, started by ``assay serve``, which holds the listening socket."""

import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.fetch import Fetcher
from assay.formats.inspect import InspectionLimits
from assay.formats.pages import ProjectPage, parse_page_json
from assay.index import confine
from assay.index.administration.desk import PUBLISHED, RECORDED, AdministrationDesk
from assay.index.admission import Admission
from assay.index.announcements import Announcements
from assay.index.blobs import BlobStore
from assay.index.children import read_secrets
from assay.index.claim_desk import ClaimDesk, ClaimNotice
from assay.index.config import DataFolder, IndexConfig, load_config, read_upstream_root
from assay.index.expiries import due_reminders, role_expiries
from assay.index.identity import identity_root
from assay.index.inspection.workers import InspectionWorkers, WorkerLimits
from assay.index.ledger import Ledger, accounts
from assay.index.ledger.publications import pending_count, read_head
from assay.index.oidc.issuers import IssuerKeys
from assay.index.oidc.mint import TokenMint
from assay.index.provenance.desk import EvidenceDesk
from assay.index.published import PublishedStore
from assay.index.registration import Rules
from assay.index.release_files import used_bytes
from assay.index.upstream.pull import PullSettings, PullThrough
from assay.index.web.app import build_app
from assay.index.web.asgi import ASGIApp, Headers, Receive, Scope, Send
from assay.index.web.cache import PublishedCache
from assay.index.web.catalogue import PublishedCatalogue
from assay.index.web.quick import Find, QuickAnswer
from assay.index.web.server import Tls, make_server
from assay.index.web.services import ReceivedUpload, UploadLimits, WebServices
from assay.model.digests import sha256_of
from assay.model.errors import AssayError, OperatorError, StorageUnavailable, Unreachable
from assay.model.names import ProjectName, parse_project_name
from assay.model.permissions import Principal
from assay.trust.layout import ROOT, metadata_path, page_target

if TYPE_CHECKING:
    from assay.index.web.metrics import Metrics

log = logging.getLogger("assay.web")

MARK_EVERY_S = 1.0
NOTICES_EVERY = timedelta(minutes=10)
CATALOGUE_BYTES = 64_000_000


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def main() -> int:
    """Run until SIGTERM, or until the supervisor is gone."""
    logging.basicConfig(level=logging.WARNING, format="assay web: %(message)s")
    settings = read_secrets()
    data = DataFolder(Path(sys.argv[1]))
    try:
        _run(data, load_config(data.config_file), settings)
    except AssayError as error:
        print(f"assay web: {error} [{error.rule}]", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _run(data: DataFolder, config: IndexConfig, settings: dict[str, Any]) -> None:
    tls = Tls(Path(settings["tls_cert"]), Path(settings["tls_key"])) if settings["tls_cert"] else None
    process = WebProcess(data, config, settings["upstream"])
    server = make_server(process, "", 0, tls=tls, proxies=config.proxy.trusted)
    server.config.load()
    _confine(data, settings["user"])
    with socket.socket(fileno=settings["descriptor"]) as listener:
        server.run(sockets=[listener])


def _confine(data: DataFolder, user: str | None) -> None:
    """Make sure that this process can read no private key, or refuse to run."""
    for leftover in data.incoming.iterdir():
        leftover.unlink()
    if user is not None:
        confine.become(user)
    if confine.landlock_is_available():
        confine.give_up_folder(data.keys.root)
    if _can_read(data.keys.root):
        log.warning("no Landlock in this kernel, and web runs as the keys' owner: it could read the key files")


def _can_read(folder: Path) -> bool:
    try:
        return any(os.access(path, os.R_OK) for path in folder.rglob("*.pem"))
    except OSError:
        return False


class WebProcess:
    """The ASGI application with what lives as long as the process: connections to the signer and to the upstream."""

    def __init__(self, data: DataFolder, config: IndexConfig, upstream: str | None) -> None:
        self._data = data
        self._config = config
        self._upstream = upstream
        self._published = PublishedStore(data.published)
        self._blobs = BlobStore(data.blobs)
        self._app: ASGIApp | None = None
        self._find: Find | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._announcements: Announcements | None = None
        self._closing = AsyncExitStack()
        self._marked = 0.0
        limits = config.limits
        costs = WorkerLimits(limits.inspection_seconds, limits.inspection_bytes, limits.inspections)
        self._inspection = InspectionWorkers(InspectionLimits(), costs)
        self._noticed: tuple[datetime, Sequence[str]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or take part in the lifespan."""
        if scope["type"] == "lifespan":
            await self._start()
            try:
                await self._running(scope, receive, send)
            finally:
                self._data.web_marker.unlink(missing_ok=True)
                await self._closing.aclose()
        else:
            self._mark()
            await self._running(scope, receive, send)

    def find_quick(self, target: bytes, headers: Headers) -> QuickAnswer | None:
        """See ``IndexApplication.find_quick``."""
        self._mark()
        return self._find(target, headers) if self._find is not None else None

    @property
    def _running(self) -> ASGIApp:
        if self._app is None:
            raise OperatorError("the web process has not started")
        return self._app

    def _mark(self) -> None:
        """Leave a sign of life for the supervisor."""
        if time.monotonic() - self._marked > MARK_EVERY_S:
            self._marked = time.monotonic()
            self._data.web_marker.touch()

    async def _start(self) -> None:
        self._loop = asyncio.get_running_loop()
        ledger = Ledger.open(self._data.ledger_file)
        self._announcements = Announcements(self._data.socket, ledger)
        listening = asyncio.create_task(self._announcements.run())
        self._closing.callback(listening.cancel)
        self._closing.callback(ledger.close)
        await asyncio.to_thread(self._inspection.start)
        self._closing.callback(self._inspection.close)
        fetcher = await self._closing.enter_async_context(Fetcher())
        mint = self._mint(ledger, fetcher)
        app = build_app(self._services(ledger, self._pull_through(ledger, fetcher, self._announcements), mint))
        self._app, self._find = app, app.find_quick
        if self._config.metrics.listen:
            metrics = self._metrics(ledger)
            self._app, self._find = metrics.measured(app), metrics.measured_find(app.find_quick)
        self._mark()

    def _metrics(self, ledger: Ledger) -> "Metrics":
        from assay.index.web.metrics import Metrics

        def waiting() -> int:
            with ledger.read() as connection:
                return pending_count(connection)

        def publication() -> int:
            with ledger.read() as connection:
                return read_head(connection).publication

        metrics = Metrics()
        metrics.watch(lambda: role_expiries(self._published), waiting, publication)
        metrics.listen(self._config.metrics.listen)
        return metrics

    def _notices(self) -> Sequence[str]:
        """Which offline signatures end soon, looked up now and then."""
        now = utc_now()
        if self._noticed is None or now - self._noticed[0] > NOTICES_EVERY:
            self._noticed = now, [str(one) for one in due_reminders(self._published, now, self._config.lifetimes)]
        return self._noticed[1]

    def _mint(self, ledger: Ledger, fetcher: Fetcher) -> TokenMint | None:
        oidc = self._config.oidc
        if not oidc.issuers:
            return None
        audience = oidc.audience_of(sha256_of(self._published.read(metadata_path(ROOT, 1)) or b""))
        return TokenMint(audience, IssuerKeys(oidc.issuers, fetcher, utc_now), ledger, utc_now)

    def _services(self, ledger: Ledger, pull_through: PullThrough | None, mint: TokenMint | None) -> WebServices:
        rules = Rules.of(self._config)
        evidence = EvidenceDesk(self._blobs, self._published)
        admission = Admission(ledger, self._blobs, self._inspection.inspect, utc_now, evidence, rules)
        claims = ClaimDesk(ledger, utc_now, rules)
        notice = ClaimNotice(self._published, utc_now)

        def authenticate(token: str) -> Principal:
            with ledger.read() as connection:
                return accounts.authenticate(connection, token, utc_now())

        def authenticate_reader(token: str) -> Principal:
            principal = authenticate(token)
            with ledger.write() as connection:
                accounts.record_use(connection, principal, utc_now())
            return principal

        def know_upstreams(project: ProjectName) -> None:
            """A name that the upstream has is the upstream's, also where nobody has asked for it yet."""
            try:
                if pull_through is not None:
                    self._run(pull_through.fetch_page(project))
            except Unreachable as error:
                raise Unreachable(
                    "the upstream cannot be asked whether this project is its own",
                    subject=project,
                    rule="upstream-unknown",
                    found=str(error),
                    next_step="an administrator can reserve the name: assay project create NAME --private",
                ) from error

        def publish(upload: ReceivedUpload, principal: Principal) -> Sequence[str]:
            notice.require_role(upload.form)
            know_upstreams(upload.form.distribution.project)
            admitted = admission.admit(upload, principal)
            self._wait(admitted.proposal)
            return admitted.notes

        def claim(project: ProjectName, role: str, principal: Principal) -> None:
            know_upstreams(project)
            self._wait(claims.submit(project, role, principal))

        def project_room(name: str) -> int:
            with ledger.read() as connection:
                used = used_bytes(connection, parse_project_name(name))
            return rules.max_project_bytes - used

        administration = AdministrationDesk(ledger, utc_now, self._config.oidc.issuers)

        def administer(operation: str, given: Mapping[str, Any], principal: Principal) -> Mapping[str, Any]:
            done = administration.perform(operation, given, principal)
            return {**done.result, **({"state": self._state(done.proposals)} if done.proposals is not None else {})}

        def list_projects() -> list[ProjectName]:
            with ledger.read() as connection:
                return accounts.project_names(connection)

        return WebServices(
            published=self._published,
            blobs=self._blobs,
            catalogue=PublishedCatalogue(self._published, PublishedCache(CATALOGUE_BYTES)),
            incoming=self._data.incoming,
            proxied_blobs=self._config.proxy.blobs,
            authenticate=authenticate,
            publish=publish,
            claim=claim,
            mint=mint,
            read_access=authenticate_reader if self._config.access.read == "token" else None,
            uploads_per_minute=self._config.limits.uploads_per_minute,
            failures_per_minute=self._config.limits.failures_per_minute,
            list_projects=list_projects,
            notices=self._notices,
            root_fingerprint=sha256_of(identity_root(self._published) or b""),
            pull_through=pull_through,
            project_room=project_room,
            administer=administer,
            upload_limits=UploadLimits(max_file_bytes=self._config.limits.max_file_bytes),
        )

    def _wait(self, proposal: int) -> None:
        """In a thread: return once ``proposal`` is published. Raises as ``Announcements.wait``."""
        if self._announcements is None:
            raise OperatorError("the web process has not started")
        self._run(self._announcements.wait(proposal, self._config.limits.publish_timeout_s))

    def _state(self, proposals: Sequence[int]) -> str:
        """In a thread: what becomes of ``proposals`` while somebody waits. Raises SignerRefused."""
        try:
            for proposal in proposals:
                self._wait(proposal)
        except StorageUnavailable:
            return RECORDED
        return PUBLISHED

    def _run(self, work: Coroutine[object, object, None]) -> None:
        """In a thread: run ``work`` in the loop, to its end."""
        if self._loop is None:
            raise OperatorError("the web process has not started")
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _pull_through(self, ledger: Ledger, fetcher: Fetcher, announcements: Announcements) -> PullThrough | None:
        if self._upstream is None:
            return None
        settings = PullSettings(
            url=self._upstream,
            private=self._config.names.private,
            max_age_s=self._config.upstream.max_age_s,
            publish_timeout_s=self._config.limits.publish_timeout_s,
            trust_root=read_upstream_root(self._data, self._config),
        )
        return PullThrough(
            settings,
            ledger,
            self._blobs,
            self._data.incoming,
            fetcher,
            announcements,
            utc_now,
            self._published_page,
            self._published.read,
        )

    def _published_page(self, project: ProjectName) -> ProjectPage | None:
        data = self._published.read(page_target(project))
        return parse_page_json(data) if data is not None else None


if __name__ == "__main__":
    sys.exit(main())
