"""pip and uv configured for good, against a permanent endpoint on loopback; and everything put back as it was.

Invariants: before a file is changed its bytes are kept; undo restores them and touches nothing that was changed since.
"""

import base64
import configparser
import io
import os
import secrets
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import platformdirs

from assay import durable
from assay.client.proxy.endpoint import EndpointPlace
from assay.client.registry import TrustedEntry, user_cache, user_data
from assay.model.digests import sha256_of
from assay.model.errors import AlreadyExists, CallerError, NotFound

DEFAULT_PORT: Final = 8422
UNIT: Final = "assay-proxy.service"
_OTHER_WAYS: Final = ("extra-index-url", "find-links", "no-index", "trusted-host", "proxy", "cert")
_UV_INDEX_KEYS: Final = ("index", "index-url", "extra-index-url", "find-links", "no-index", "cache-dir", "pip")


@dataclass(frozen=True, slots=True)
class Setup:
    """What is set up. ``index``: the trusted index behind the endpoint."""

    index: str
    place: EndpointPlace


@dataclass(frozen=True, slots=True)
class Changed:
    """What was done: ``files`` written, ``dropped`` settings that led elsewhere, and whether the service runs."""

    files: tuple[Path, ...]
    dropped: tuple[str, ...] = ()
    service: bool = False


def set_up(entry: TrustedEntry, port: int, environ: Mapping[str, str], *, with_service: bool) -> Changed:
    """Write the configuration. Raises AlreadyExists where it is there, CallerError for files that cannot be changed."""
    if _state().exists():
        raise AlreadyExists("pip and uv are set up already", subject=str(_state()), next_step="assay setup --undo")
    setup = Setup(entry.url, EndpointPlace(port, secrets.token_urlsafe(24)))
    caches = user_cache() / "endpoint" / entry.fingerprint[:32]
    pip, dropped = _pip_config(_read(_pip_file()), setup.place.url, caches / "pip")
    new = {_pip_file(): pip, _uv_file(): _uv_config(_read(_uv_file()), setup.place.url, caches / "uv")}
    if _has_systemd(environ):
        new[_unit_file()] = _unit()
    before = {path: _read(path) for path in new}
    document = {
        "assay-setup": 1,
        "index": setup.index,
        "port": port,
        "secret": setup.place.secret,
        "files": [
            {
                "path": str(path),
                "before": base64.b64encode(data).decode() if (data := before[path]) is not None else None,
                "after": sha256_of(new[path]),
            }
            for path in new
        ],
    }
    durable.make_folder(_state().parent, mode=0o700)
    durable.write_file(_state(), orjson.dumps(document), mode=0o600)
    for path, data in new.items():
        durable.make_folder(path.parent)
        durable.write_file(path, data, mode=0o600)
    service = with_service and _systemctl(environ, ["daemon-reload"]) and _systemctl(environ, ["enable", "--now", UNIT])
    return Changed(tuple(new), dropped, service)


def undo(environ: Mapping[str, str]) -> Changed:
    """Put every file back as it was. Raises CallerError where one was changed since: nothing is touched then."""
    document = _document()
    files = [(Path(each["path"]), each["before"], each["after"]) for each in document["files"]]
    for path, _, after in files:
        data = _read(path)
        if data is not None and sha256_of(data) != after:
            raise CallerError(
                "this file was changed since assay setup wrote it",
                rule="setup-changed",
                subject=str(path),
                next_step=f"take the lines about 127.0.0.1 out of it yourself, then remove {_state()}",
            )
    if any(path.name == UNIT for path, _, _ in files):
        _systemctl(environ, ["disable", "--now", UNIT])
    for path, before, _ in files:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            durable.write_file(path, base64.b64decode(before), mode=0o600)
    _state().unlink()
    return Changed(tuple(path for path, _, _ in files))


def read_setup() -> Setup:
    """What ``set_up`` wrote. Raises NotFound."""
    document = _document()
    return Setup(document["index"], EndpointPlace(document["port"], document["secret"]))


def _document() -> dict[str, Any]:
    try:
        document: dict[str, Any] = orjson.loads(_state().read_bytes())
    except FileNotFoundError as error:
        raise NotFound("nothing is set up here", subject=str(_state()), next_step="assay setup") from error
    return document


# --- the files -------------------------------------------------------------------------------------------------


def _pip_config(before: bytes | None, url: str, cache: Path) -> tuple[bytes, tuple[str, ...]]:
    """pip's file with our index and a cache of its own, and the settings that had led elsewhere."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string((before or b"").decode("utf-8"))
    except (configparser.Error, UnicodeDecodeError) as error:
        raise CallerError("pip's configuration cannot be read", subject=str(_pip_file()), found=str(error)) from error
    dropped = [
        f"{key} in [{section}] of {_pip_file()}"
        for section in parser.sections()
        for key in (*_OTHER_WAYS, "index-url")
        if parser.has_option(section, key)
    ]
    for section in parser.sections():
        for key in (*_OTHER_WAYS, "index-url"):
            parser.remove_option(section, key)
    if not parser.has_section("global"):
        parser.add_section("global")
    parser.set("global", "index-url", url)
    parser.set("global", "cache-dir", str(cache))
    text = io.StringIO()
    parser.write(text)
    return text.getvalue().encode(), tuple(dropped)


def _uv_config(before: bytes | None, url: str, cache: Path) -> bytes:
    """uv's file with our index as the default one. Raises CallerError where it names others: they are the user's."""
    text = (before or b"").decode("utf-8", "replace")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CallerError("uv's configuration cannot be read", subject=str(_uv_file()), found=str(error)) from error
    own = [key for key in _UV_INDEX_KEYS if key in table]
    if own:
        raise CallerError(
            "uv's configuration says where packages come from, and two answers are none",
            rule="setup-uv",
            subject=str(_uv_file()),
            found=", ".join(own),
            next_step="take these keys out, then run assay setup again",
        )
    head = f"cache-dir = {_text(str(cache))}\n"
    return f"{head}{text}\n[[index]]\nurl = {_text(url)}\ndefault = true\n".encode()


def _unit() -> bytes:
    """A systemd user unit that keeps the endpoint running."""
    return (
        "[Unit]\nDescription=Verified packages on loopback (assay proxy)\nAfter=network-online.target\n\n"
        f'[Service]\nExecStart="{sys.executable}" -m assay proxy\nRestart=on-failure\nRestartSec=5\n'
        "NoNewPrivileges=yes\nUMask=0077\n\n[Install]\nWantedBy=default.target\n"
    ).encode()


def _pip_file() -> Path:
    folder = Path(platformdirs.user_config_dir("pip", appauthor=False, roaming=True))
    return folder / ("pip.ini" if os.name == "nt" else "pip.conf")


def _uv_file() -> Path:
    """uv follows XDG on macOS, too."""
    base = os.environ.get("APPDATA") if os.name == "nt" else os.environ.get("XDG_CONFIG_HOME")
    return Path(base or Path.home() / ".config") / "uv" / "uv.toml"


def _unit_file() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user" / UNIT


def _state() -> Path:
    return user_data() / "setup.json"


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CallerError("cannot be read", subject=str(path), found=error.strerror) from error


def _has_systemd(environ: Mapping[str, str]) -> bool:
    return shutil.which("systemctl", path=environ.get("PATH")) is not None


def _systemctl(environ: Mapping[str, str], words: Sequence[str]) -> bool:
    """Ask the user's systemd; False where there is none or it refuses."""
    if not _has_systemd(environ):
        return False
    done = subprocess.run(["systemctl", "--user", *words], check=False, capture_output=True, timeout=60, env=environ)
    return done.returncode == 0


def _text(value: str) -> str:
    """JSON's strings are TOML's."""
    return orjson.dumps(value).decode()
