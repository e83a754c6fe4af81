"""The demo's peaceful half: an index, a developer who publishes, a user who installs with pip and uv."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.request import ProxyHandler, build_opener

from assay.cli.demo.distributions import Release, write_distributions
from assay.cli.demo.minutes import Minutes
from assay.cli.demo.programs import ASSAY, Done, Environment, Person, Programs
from assay.cli.demo.served import ServedIndex, Starting, start_serving

PROJECT: Final = "hallmark-demo"
STRANGER: Final = "requests"
"""A real project of somebody else's, with dependencies."""
STAMP: Final = "hallmark-demo-stamp"
"""What the project depends on where no upstream answers."""
UPSTREAM_TIMEOUT_S: Final = 30
IDLE_EXIT_S: Final = 300
SEAL_TIMEOUT_S: Final = 30
SEALED: Final = "by a key that was destroyed"


@dataclass(frozen=True, slots=True)
class Setting:
    """``folder``: where everything lies. ``blank``: somebody with an empty machine. ``upstream``: URL, or None.

    ``keep``: the indexes wait for ever; otherwise they end when nobody asks them, even if the demo was killed.
    """

    folder: Path
    programs: Programs
    minutes: Minutes
    blank: Person
    upstream: str | None
    keep: bool

    def person(self, name: str, **settings: str) -> Person:
        """Somebody new with an empty machine and environment variables of their own."""
        person = self.blank.copy(self.folder / "people" / name)
        return replace(person, settings={**person.settings, **settings})

    def started(self, name: str, upstream: str | None, config: str = "") -> Starting:
        """An index in the folder ``name``, being started."""
        options = ["--insecure-dev-keys", "--upstream", upstream or "off"]
        options += [] if self.keep else ["--idle-exit", str(IDLE_EXIT_S)]
        return start_serving(self.person(f"operator of {name}"), self.folder / name, options, config)

    def must(self, what: str, done: Done, *words: str) -> bool:
        """Check that a command ended well and said ``words``."""
        passed = done.code == 0 and all(word in done.said for word in words)
        return self.minutes.check(what, passed, f"exit {done.code}: {done.said.strip()}")


def release_of(version: str, requires: Sequence[str] = (), name: str = PROJECT) -> Release:
    """A release of one of the demo's own projects."""
    return Release(name, version, {f"{name.replace('-', '_')}.py": f"VERSION = {version!r}\n".encode()}, requires)


def open_index(setting: Setting, starting: Starting) -> ServedIndex:
    """Chapter 1: the ceremony, and a running index."""
    minutes = setting.minutes
    minutes.chapter("1. An index of your own")
    minutes.command(f"assay serve --data index --insecure-dev-keys --upstream {setting.upstream or 'off'}")
    index = starting.wait()
    minutes.note(
        f"serving {index.url}\nroot    {index.fingerprint}\n"
        "root, targets and online keys were made; one process signs, another speaks HTTP and can read no key"
    )
    minutes.check("ceremony held, index answers", index.admin_token is not None)
    return index


def upstream_answers(index: ServedIndex) -> bool:
    """Does the index get a stranger's project from its upstream?"""
    try:
        with build_opener(ProxyHandler({})).open(f"{index.simple_url}{STRANGER}/", timeout=UPSTREAM_TIMEOUT_S) as page:
            return bool(page.status == 200)
    except OSError:
        return False


def hire_developer(setting: Setting, index: ServedIndex) -> Person:
    """Chapter 2 begins: an account with a token; returns the developer, whose twine and uv use it."""
    operator = setting.person("operator")
    setting.minutes.chapter("2. A developer publishes")
    data = ("--data", str(index.data))
    for words in (("user", "create", "alice"), ("token", "create", "alice", "--project", PROJECT, "--project", STAMP)):
        setting.minutes.command(f"assay {' '.join(words)}")
        done = operator.run(*ASSAY, *words, *data)
        setting.must(f"{words[0]} created", done)
    return developer(setting, "alice", index, done.said.strip())


def developer(setting: Setting, name: str, index: ServedIndex, token: str) -> Person:
    """Somebody whose twine and uv are configured for the index."""
    return setting.person(
        name,
        TWINE_REPOSITORY_URL=index.upload_url,
        TWINE_USERNAME="__token__",
        TWINE_PASSWORD=token,
        UV_PUBLISH_URL=index.upload_url,
        UV_PUBLISH_TOKEN=token,
    )


def publish_with_twine(setting: Setting, alice: Person, release: Release) -> Done:
    """Build wheel and sdist, and upload them."""
    files = write_distributions(release, alice.folder / "dist" / release.stem)
    options = ("--non-interactive", "--disable-progress-bar")
    return alice.run(*setting.programs.twine, "upload", *options, *map(str, files))


def publish_with_uv(setting: Setting, alice: Person, release: Release) -> Done:
    """The same with ``uv publish``."""
    files = write_distributions(release, alice.folder / "dist" / release.stem)
    return alice.run(*setting.programs.uv, "publish", "--no-cache", "--trusted-publishing=never", *map(str, files))


def tell_publishing(setting: Setting, alice: Person, release: Release, tool: str) -> None:
    """Publish ``release`` with ``tool`` and say so."""
    publish: Callable[[Setting, Person, Release], Done] = {"twine": publish_with_twine, "uv": publish_with_uv}[tool]
    words = "twine upload" if tool == "twine" else "uv publish"
    setting.minutes.command(f"{words} dist/{release.wheel_name} dist/{release.sdist_name}")
    setting.must(f"{words}: {release.name} {release.version} accepted", publish(setting, alice, release))


def tell_installing(setting: Setting, index: ServedIndex, dependency: str) -> None:
    """Chapter 3: trust, then the user's own commands with two words before them; and who vouches for it."""
    minutes, programs, bob = setting.minutes, setting.programs, setting.person("bob")
    minutes.chapter("3. A user installs, verified")
    minutes.command(f"assay trust add {index.url} --fingerprint {index.fingerprint}")
    setting.must("index trusted", bob.run(*ASSAY, "trust", "add", index.url, "--fingerprint", index.fingerprint))
    for tool in ("pip", "uv pip"):
        environment = Environment.make(programs, bob, f"venv of {tool.partition(' ')[0]}")
        before = (*programs.pip, "--python", environment.python, "install")
        if tool == "uv pip":
            before = (*programs.uv, "pip", "install", "--python", environment.python)
        minutes.command(f"assay run -- {tool} install {PROJECT}")
        done = bob.run(*ASSAY, "run", "--", *before, PROJECT)
        missing = [name for name in (PROJECT, dependency) if not environment.has(name)]
        detail = f"exit {done.code}, missing {missing}: {done.said}"
        minutes.check(f"{tool}: {PROJECT} and {dependency} installed", done.code == 0 and not missing, detail)
    minutes.command(f"assay explain {PROJECT}==1.0")
    done = bob.run(*ASSAY, "explain", f"{PROJECT}==1.0")
    minutes.note(done.said.strip())
    setting.must("explain names the developer and her token", done, "by alice", "authenticated with token:")


def tell_sealing(setting: Setting, index: ServedIndex, user: Person, release: Release) -> None:
    """Chapter 6 begins: offline keys seal what was published, and ``user`` is told so."""
    minutes, operator = setting.minutes, setting.person("operator with a safe")
    minutes.chapter("6. The release is sealed; then the whole index is stolen, with every key that it has")
    minutes.command("mv index/keys/offline safe")
    safe = (index.data / "keys" / "offline").rename(operator.folder / "safe")
    data = ("--data", str(index.data))
    for verb, options in (("plan", data), ("sign", ("--key", str(safe / "targets.pem"))), ("publish", data)):
        minutes.command(f"assay seal {verb} draft" + (" --key safe/targets.pem" if verb == "sign" else ""))
        setting.must(f"seal {verb}", operator.run(*ASSAY, "seal", verb, "draft", *options))
    words = ("explain", f"{release.name}=={release.version}", release.wheel_name)
    minutes.command(f"assay {' '.join(words)}")
    deadline = time.monotonic() + SEAL_TIMEOUT_S
    while SEALED not in (done := user.run(*ASSAY, *words)).said and time.monotonic() < deadline:
        time.sleep(0.5)
    minutes.note("\n".join(line.strip() for line in done.said.splitlines() if "sealed" in line))
    setting.must("explain says who can change the release now: nobody", done, SEALED)
