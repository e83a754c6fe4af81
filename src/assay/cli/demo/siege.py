"""The demo's other half: attacks on a running index, each met by four clients at once."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from assay.cli.demo.attacks import Attack, Loot
from assay.cli.demo.distributions import Release
from assay.cli.demo.outcomes import (
    MARK,
    NEW,
    NGCLIENT,
    PLAIN_PIP,
    RETURNING,
    Outcome,
    ng_updater,
    try_new,
    try_ngclient,
    try_plain_pip,
    try_returning,
)
from assay.cli.demo.programs import ASSAY, Person, require
from assay.cli.demo.served import ServedIndex
from assay.cli.demo.story import PROJECT, Setting
from assay.cli.demo.takeover import taken_over
from assay.index.published import TIMESTAMP_NAME

FROZEN_LIFETIME_S: Final = 20
"""How long the timestamps of the second index are valid: short, so that one expires while the demo runs."""
COLUMNS: Final = ["attack", PLAIN_PIP, f"assay, {NEW}", f"assay, {RETURNING}", f"stock {NGCLIENT}"]


def evil_twin(release: Release) -> Release:
    """The attacker's release under the same name: the same metadata, another module, and a mark without effect."""
    module = next(iter(release.modules))
    return replace(release, modules={module: b"VERSION = 'evil'\n", MARK: b"nobody vouched for this file\n"})


@dataclass(frozen=True, slots=True)
class Replayed:
    """What an attacker recorded earlier: a page, and the timestamp that belonged to it, when ``version`` was newest."""

    version: str
    timestamp: bytes
    page: bytes

    @classmethod
    def record(cls, data: Path, release: Release) -> "Replayed":
        """Keep what readers of the index in ``data`` are served now, while ``release`` is the newest."""
        loot = Loot(data, release, release)
        return cls(release.version, loot.published(TIMESTAMP_NAME).read_bytes(), loot.page()[1])


@dataclass(frozen=True, slots=True)
class Besieged:
    """An index, and who knew it before the attack: a person, and a stock TUF client's folder.

    ``bundle``: the floor that the person exported, for new clients that must not start below it.
    """

    index: ServedIndex
    loot: Loot
    returning: Person
    ng_folder: Path
    bundle: Path

    @classmethod
    def prepare(cls, setting: Setting, name: str, index: ServedIndex, release: Release) -> "Besieged":
        """Let a person and a stock client get to know ``index``, on which ``release`` is published."""
        person = setting.person(name)
        bundle = person.folder / "floor.json"
        commands = (
            ("trust", "add", index.url, "--fingerprint", index.fingerprint),
            ("explain", f"{release.name}=={release.version}"),
            ("trust", "export", str(bundle)),
        )
        for words in commands:
            require(person.run(*ASSAY, *words), *words)
        folder = person.folder / "ngclient"
        ng_updater(index, folder, folder).refresh()
        return cls(index, Loot(index.data, release, evil_twin(release)), person, folder, bundle)

    def wait_for_expiry(self) -> None:
        """Sleep until the newest timestamp has expired by this machine's clock."""
        timestamp = json.loads(self.loot.published(TIMESTAMP_NAME).read_bytes())
        expires = datetime.fromisoformat(timestamp["signed"]["expires"])
        time.sleep(max(0.0, (expires - datetime.now(UTC)).total_seconds()) + 0.1)


def attacks_on(besieged: Besieged, old: Replayed) -> list[Attack]:
    """The attacks that need files and database only."""
    loot, filename = besieged.loot, besieged.loot.filename
    genuine = f"installed {loot.genuine.version}"
    return [
        Attack(
            "a flipped byte in a blob",
            f"one bit of {filename} is changed where the index keeps it; its hash in the page stays",
            loot.flip_byte,
            plain="refused",
            code=10,
            names=(filename, loot.genuine_sha256),
        ),
        Attack(
            "a swapped page",
            "the page is rewritten to name the hash of the attacker's wheel, which lies beside it",
            loot.swap_page,
            plain="installed the attacker's file",
            code=10,
            names=(f"simple/{PROJECT}/index.json",),
        ),
        Attack(
            "a rewritten database row",
            "the file's row names the attacker's wheel, and the signer is asked to publish it under the same name",
            loot.rewrite_database,
            plain=genuine,
            code=0,
            stock_refuses=False,
        ),
        Attack(
            "a rolled-back timestamp.json",
            f"the page and the timestamp from before {loot.genuine.version} are served again, both once signed",
            lambda: loot.roll_back(old.timestamp, old.page),
            plain=f"installed {old.version}",
            code=11,
            names=("timestamp", "older", "or later"),
        ),
    ]


def expiry_of(besieged: Besieged) -> Attack:
    """The attack that needs nothing but patience: the world stands still."""
    return Attack(
        "an expired timestamp.json",
        f"nothing new reaches the readers: the newest timestamp is from the past (here after {FROZEN_LIFETIME_S} s)",
        nullcontext,
        plain=f"installed {besieged.loot.genuine.version}",
        code=11,
        names=("timestamp", "expired"),
    )


def takeover_of(besieged: Besieged) -> Attack:
    """The attack that a seal withstands: the thief is the index."""
    loot = besieged.loot
    return Attack(
        "every online key stolen",
        f"page and bins vouch for the evil {loot.filename}, all signed with the index's own keys",
        lambda: taken_over(loot),
        plain="installed the attacker's file",
        code=10,
        names=(loot.filename, loot.genuine_sha256, loot.evil_sha256),
    )


def besiege(setting: Setting, besieged: Besieged, attack: Attack) -> list[str]:
    """Carry out ``attack``, let everybody try, check what happened; returns the row of the table."""
    minutes = setting.minutes
    minutes.chapter(f"  {attack.title}")
    minutes.note(attack.story)
    with attack.carry_out():
        outcomes = _attempts(setting, besieged, attack)
        answer = besieged.loot.last_answer() if attack.code == 0 else None
    plain, *verified, stock = outcomes
    expected = attack.plain
    minutes.check(f"{PLAIN_PIP}: {plain.words()}", plain.words().startswith(expected), f"expected: {expected}")
    for outcome in verified:
        _check_assay(setting, besieged, attack, outcome)
    refused = stock.refused == attack.stock_refuses
    minutes.check(f"{NGCLIENT}: {stock.words()}", refused, f"should refuse: {attack.stock_refuses}; {stock.said}")
    if answer is not None:
        refusal = answer == ("refused", answer[1]) and "one path has one hash, for ever" in str(answer[1])
        minutes.check(f"the signer refused: {answer[1]}", refusal, str(answer))
    return [attack.title, *(outcome.words() for outcome in outcomes)]


def try_without_floor(setting: Setting, besieged: Besieged, old: Replayed) -> Outcome:
    """What a new client does under rollback that has a fingerprint and no bundle: it knows no history."""
    trust = ("--fingerprint", besieged.index.fingerprint)
    with besieged.loot.roll_back(old.timestamp, old.page):
        return try_new(setting.programs, setting.person("new without floor"), besieged.index, PROJECT, trust)


def _attempts(setting: Setting, besieged: Besieged, attack: Attack) -> list[Outcome]:
    """All four at once, each on a machine of their own."""
    slug = attack.title.replace(" ", "-")
    index, programs = besieged.index, setting.programs
    people = setting.folder / "people"
    trust = ("--bundle", str(besieged.bundle))
    returning = besieged.returning.copy(people / f"returning-{slug}")
    with ThreadPoolExecutor(4) as pool:
        attempts = [
            pool.submit(try_plain_pip, programs, setting.person(f"plain-{slug}"), index, PROJECT),
            pool.submit(try_new, programs, setting.person(f"new-{slug}"), index, PROJECT, trust),
            pool.submit(try_returning, programs, returning, PROJECT),
            pool.submit(try_ngclient, index, returning.folder / "ngclient", besieged.loot),
        ]
        return [attempt.result() for attempt in attempts]


def _check_assay(setting: Setting, besieged: Besieged, attack: Attack, outcome: Outcome) -> None:
    """Refused with the right code, nothing installed, everything named; or, without effect, the genuine file."""
    if attack.code == 0:
        genuine = outcome.code == 0 and outcome.version == besieged.loot.genuine.version and not outcome.marked
        setting.minutes.check(f"{outcome.who}: {outcome.words()}, the genuine file", genuine, outcome.said)
        return
    unnamed = [word for word in (*attack.names, "expected", "found") if word not in outcome.said]
    passed = outcome.code == attack.code and outcome.refused and not unnamed
    detail = f"exit {outcome.code}, installed {list(outcome.installed)}, not named: {unnamed}\n{outcome.said}"
    setting.minutes.check(f"{outcome.who}: {outcome.words()}, nothing installed, cause named", passed, detail)
    if outcome.who == RETURNING and passed:
        setting.minutes.note(explanation(outcome.said))


def explanation(said: str) -> str:
    """The lines in which ``assay`` explains itself, without the installer's own."""
    start = said.rfind("assay: ")
    return said[start:].strip() if start >= 0 else said.strip()
