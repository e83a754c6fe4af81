"""A running index with its operator, its developers and its users, each on a machine of their own."""

import base64
import hashlib
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assay.cli.demo.programs import ASSAY, Done, Person, Programs
from assay.cli.demo.served import ServedIndex, start_serving
from client.small_distributions import build_wheel
from index.web.forms import CONTENT_TYPE, FIELDS, body, parts

JSON = "application/vnd.pypi.simple.v1+json"
PROGRAMS = Programs.find()
NO_DAEMON = ("--idle-exit", "600")
"""Should a test run be killed, its indexes end by themselves."""


@dataclass(frozen=True)
class Answer:
    status: int
    reason: str
    body: bytes


def ask(
    url: str, data: bytes | None = None, headers: Mapping[str, str] | None = None, authority: str | None = None
) -> Answer:
    """One HTTP request to loopback. ``authority``: the file of whom to trust for TLS."""
    tls = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=authority))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), tls)
    try:
        with opener.open(urllib.request.Request(url, data, dict(headers or {})), timeout=90) as response:
            return Answer(response.status, response.reason, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.reason, error.read())


@dataclass
class House:
    """``folder`` holds everything. ``settings``: environment variables of everybody here.

    ``kept_token``: the administrator's, where the index was made before this start.
    """

    folder: Path
    index: ServedIndex
    settings: Mapping[str, str] = field(default_factory=dict)
    kept_token: str = ""
    people: int = 0

    @property
    def token(self) -> str:
        return self.kept_token or self.index.admin_token or ""

    def stranger(self, **settings: str) -> Person:
        """Somebody with an empty machine."""
        self.people += 1
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return Person(self.folder / f"person-{self.people}", home, {**self.settings, **settings})

    def operator(self, *words: str) -> Done:
        """Run an administrator's verb on the data folder."""
        return self.stranger().run(*ASSAY, *words, "--data", str(self.index.data))

    def developer(self, token: str | None = None) -> Person:
        """Somebody whose twine and uv publish here."""
        token = token or self.token
        return self.stranger(
            TWINE_REPOSITORY_URL=self.index.upload_url,
            TWINE_USERNAME="__token__",
            TWINE_PASSWORD=token,
            UV_PUBLISH_URL=self.index.upload_url,
            UV_PUBLISH_TOKEN=token,
        )

    def user(self, *trust: str, **settings: str) -> Person:
        """Somebody who trusts this index, by its fingerprint unless ``trust`` says otherwise."""
        person = self.stranger(**settings)
        trust = trust or ("--fingerprint", self.index.fingerprint)
        done = person.run(*ASSAY, "trust", "add", self.index.url, *trust)
        assert done.code == 0, done.said
        return person

    def upload(self, filename: str, data: bytes, token: str | None = None) -> Answer:
        """What an uploading tool sends, without the tool."""
        project, version = filename.removesuffix(".tar.gz").split("-")[:2]
        kind = ("sdist", "source") if filename.endswith(".tar.gz") else ("bdist_wheel", "py3")
        fields = {
            **FIELDS,
            "name": project,
            "version": version,
            "filetype": kind[0],
            "pyversion": kind[1],
            "sha256_digest": hashlib.sha256(data).hexdigest(),
        }
        credentials = base64.b64encode(f"__token__:{token or self.token}".encode()).decode()
        headers = {"Authorization": f"Basic {credentials}", "Content-Type": CONTENT_TYPE}
        authority = self.settings.get("SSL_CERT_FILE")
        return ask(self.index.upload_url, body(parts(fields, data, filename)), headers, authority)

    def page(self, project: str) -> dict[str, Any] | None:
        """The project's page as anybody sees it."""
        answer = ask(f"{self.index.simple_url}{project}/", headers={"Accept": JSON})
        if answer.status == 404:
            return None
        page: dict[str, Any] = json.loads(answer.body)
        return page

    def publish(self, *releases: tuple[str, str]) -> None:
        """Upload a small wheel for each name and version."""
        for name, version in releases:
            done = self.upload(f"{name}-{version}-py3-none-any.whl", build_wheel(name, version))
            assert done.status == 200, done


@contextmanager
def running_house(
    folder: Path, *options: str, config: str = "", settings: Mapping[str, str] | None = None, token: str = ""
) -> Iterator[House]:
    """An index in ``folder``, new or known, while the block lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    home = folder / "home"
    home.mkdir(exist_ok=True)
    operator = Person(folder / "operator", home, settings or {})
    words = options if "--upstream" in options else ("--upstream", "off", *options)
    keys = () if (settings or {}).get("ASSAY_PASSPHRASE_FILE") else ("--insecure-dev-keys",)
    starting = start_serving(operator, folder / "index", (*NO_DAEMON, *words, *keys), config)
    try:
        yield House(folder, starting.wait(), settings or {}, token)
    finally:
        starting.stop()
