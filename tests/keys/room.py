"""A ceremony's room for tests: people with homes of their own, one stick, and a clock that everybody reads."""

import shutil
import textwrap
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from securesystemslib.signer import SSlibKey

from assay.keys.ceremony.assembling import VerifiedBundle, merge, verify
from assay.keys.ceremony.current import find_current
from assay.keys.ceremony.home import Home
from assay.keys.ceremony.signing import Case, show, sign
from assay.keys.ceremony.steps import NewKey, begin, build_payloads, countersign, enrol
from assay.keys.ceremony.stick import Stick
from assay.keys.ceremony.surroundings import Surroundings
from assay.keys.ceremony.words import fingerprint_words
from assay.keys.custody import key_file_uri
from assay.keys.files import Scheme, create_key_file
from assay.keys.passphrase import SecretsProvider
from assay.model.digests import sha256_of
from assay.model.errors import KeyUnavailable

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
ROOM = ("ana", "ben", "chi", "dov", "eli")
ONLINE = ("timestamp-1", "snapshot-1", "bin-1")
LOG_KEY = "log-1"
LABELS = {"ana": "Ana Lima", "ben": "Ben Okoro", "chi": "Chi Tran", "dov": "Dov Katz", "eli": "Eli Berg"}


def secret(name: str) -> str:
    """Nobody is asked: the rooms' keys are unencrypted, to be quick (scrypt is tested with the files)."""
    raise KeyUnavailable(f"asked for a {name}")


def secret_of(_uri: str) -> SecretsProvider:
    return secret


@dataclass
class PlanText:
    """A plan as its author writes it; change a field and render again."""

    holders: tuple[str, ...] = ROOM
    threshold: int = 3
    online: tuple[str, str, str] = ONLINE
    sign: tuple[str, ...] = ("root", "targets", "bins")
    enrol: tuple[str, ...] = (*ROOM, *ONLINE, LOG_KEY, "wim")
    observers: tuple[str, ...] = ("wim",)
    opens: datetime = START
    window: timedelta = timedelta(days=14)
    purpose: str = "the first root"
    starts_from: tuple[int, str] | None = None
    replaces: str | None = None
    rehearsal: bool = False
    extra: str = ""
    tables: str = ""
    log: str | None = LOG_KEY

    def render(self) -> bytes:
        quoted = {name: ", ".join(f'"{one}"' for one in getattr(self, name)) for name in ("holders", "sign", "enrol")}
        moment = "%Y-%m-%dT%H:%M:%SZ"
        year, quarter = self.opens + timedelta(days=365), self.opens + timedelta(days=90)
        lines = [
            'format = "assay-ceremony-plan/1"',
            'index = "packages.example.org"',
            f'purpose = "{self.purpose}"',
            f"rehearsal = {str(self.rehearsal).lower()}",
            "bin_bits = 3",
            f"sign = [{quoted['sign']}]",
            f"enrol = [{quoted['enrol']}]",
            self.extra,
            "[window]",
            f"opens = {self.opens.strftime(moment)}",
            f"closes = {(self.opens + self.window).strftime(moment)}",
        ]
        if self.starts_from:
            version, digest = self.starts_from
            lines += ["[starts_from]", f"root_version = {version}", f'root_sha256 = "{digest}"']
        if self.replaces:
            lines += ["[replaces]", f'reason = "{self.replaces}"']
        lines += [f'[holders.{name}]\nname = "{LABELS.get(name, name)}"' for name in self.holders]
        lines += [f'[online.{name}]\nname = "key {name} of the index"' for name in self.online]
        if self.log:
            lines += [f'[online.{self.log}]\nname = "key of the log"', f'[log]\nholder = "{self.log}"']
        lines += [f'[observers.{name}]\nname = "{name}"' for name in self.observers]
        lines.append(self.tables)
        for role, expires in (("root", year), ("targets", quarter), ("bins", quarter)):
            lines += [f"[roles.{role}]", f"holders = [{quoted['holders']}]", f"threshold = {self.threshold}"]
            lines += [f"expires = {expires.strftime(moment)}"]
        for role, name in zip(("timestamp", "snapshot", "bin"), self.online, strict=True):
            lines += [f"[roles.{role}]", f'holders = ["{name}"]', "threshold = 1"]
        return textwrap.dedent("\n".join(lines) + "\n").encode()


@dataclass
class Room:
    """Everybody's homes below ``folder``, and the stick that goes around."""

    folder: Path
    now: datetime = START + timedelta(hours=1)
    schemes: dict[str, Scheme] = field(default_factory=dict)
    made: int = 0

    @property
    def stick_path(self) -> Path:
        return self.folder / "stick"

    @property
    def stick(self) -> Stick:
        return Stick.open(self.stick_path)

    def at(self, machine: str, **changes: object) -> Surroundings:
        values: dict[str, object] = {
            "now": self.now,
            "operator": machine,
            "machine": f"{machine}-laptop",
            "networks": (),
        }
        return Surroundings(**{**values, **changes})  # type: ignore[arg-type]

    def home(self, name: str) -> Home:
        return Home(self.folder / "homes" / name)

    def later(self, **delta: float) -> None:
        self.now += timedelta(**delta)

    def begin(self, plan: PlanText, published: Path | None = None) -> None:
        """A fresh stick with the plan."""
        shutil.rmtree(self.stick_path, ignore_errors=True)
        self.stick_path.mkdir(parents=True)
        current = find_current(published) if published else {}
        begin(Stick.create(self.stick_path), plan.render(), current, self.at("office"))

    def enrol(self, *names: str) -> None:
        for name in names:
            self.made += 1
            path = self.home(name).folder / f"key-{self.made}.pem"
            key = create_key_file(path, self.schemes.get(name, Scheme.ED25519), None)
            self.enrol_key(name, key_file_uri(path, encrypted=False), key)

    def enrol_key(self, name: str, uri: str, key: SSlibKey) -> None:
        """Enrol a key that exists."""
        enrol(self.stick, self.home(name), name, NewKey(uri, key, {"kind": "file"}), self.at(name), secret)

    def build(self) -> Case:
        return build_payloads(self.stick, self.at("office"))

    def words(self) -> str:
        """What is read aloud in the room, from the office's screen."""
        return " ".join(fingerprint_words(self.build().fingerprint))

    def sign(self, *names: str) -> None:
        for name in names:
            show(self.stick, self.home(name), self.at(name))
            sign(self.stick, self.home(name), self.at(name), secret_of, self.words)

    def finish(self) -> VerifiedBundle:
        merge(self.stick, self.at("office"))
        return verify(self.stick, self.now)

    def hold(self, plan: PlanText, signers: tuple[str, ...], published: Path | None = None) -> VerifiedBundle:
        """A whole ceremony in which nothing goes wrong."""
        self.begin(plan, published)
        self.enrol(*plan.enrol)
        self.build()
        self.sign(*signers)
        if plan.observers:
            countersign(self.stick, self.home(plan.observers[0]), self.at("witness"), secret_of)
        return self.finish()


def start_of(bundle: VerifiedBundle) -> tuple[int, str]:
    """The starting point of the ceremony after this one."""
    return bundle.plan.next_root_version, bundle.root_sha256


def root_sha256(bundle: VerifiedBundle) -> str:
    return sha256_of(bundle.files["root"])
