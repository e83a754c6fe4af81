"""The order of the demo, and the one place that starts and ends its indexes."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from assay.cli.demo.distributions import Release
from assay.cli.demo.minutes import Minutes
from assay.cli.demo.programs import Person, Programs, require
from assay.cli.demo.served import ServedIndex, Starting
from assay.cli.demo.siege import (
    COLUMNS,
    FROZEN_LIFETIME_S,
    Besieged,
    Replayed,
    attacks_on,
    besiege,
    expiry_of,
    takeover_of,
    try_without_floor,
)
from assay.cli.demo.story import (
    PROJECT,
    STAMP,
    STRANGER,
    Setting,
    developer,
    hire_developer,
    open_index,
    publish_with_twine,
    release_of,
    tell_installing,
    tell_publishing,
    tell_sealing,
    upstream_answers,
)
from assay.cli.demo.tampering import Frozen
from assay.client.discover import discover_indexes
from assay.client.registry import user_cache

OLD, NEW = "1.0", "1.1"


def play(folder: Path, programs: Programs, minutes: Minutes, *, keep: bool) -> ServedIndex | None:
    """Play the demo in ``folder``; returns the first index if it was to be kept. Every other process has ended."""
    setting = _setting(folder, programs, minutes, keep)
    with ExitStack() as kept, ExitStack() as stack, ThreadPoolExecutor(1) as aside:
        starting = setting.started("index", setting.upstream, f'[names]\nprivate = ["{PROJECT}*"]\n')
        kept.callback(starting.stop)
        second = setting.started("second", None, f"[trust]\ntimestamp_hours = {FROZEN_LIFETIME_S / 3600}\n")
        stack.callback(second.stop)
        frozen = aside.submit(_freeze, setting, second, stack)
        index = open_index(setting, starting)
        replayed, release = _publish_and_install(setting, index)
        besieged = Besieged.prepare(setting, "carol", index, release)
        rows = _attack(setting, besieged, replayed, frozen.result)
        rows.append(_seal_and_steal(setting, besieged, release))
        minutes.table(f"pip install {PROJECT}, attacked", COLUMNS, rows)
        minutes.facts["attacks"] = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        if keep:
            kept.pop_all()
            return index
    return None


def _setting(folder: Path, programs: Programs, minutes: Minutes, keep: bool) -> Setting:
    """Everybody starts from a machine on which pip was already asked for its index, as on any that ran Assay before."""
    home = folder / "home"
    home.mkdir()
    upstream = next(iter(discover_indexes(os.environ, user_cache())), None)
    upstream = upstream if upstream is None or upstream.endswith("/") else f"{upstream}/"
    blank = Person(folder / "people" / "blank", home)
    blank.folder.mkdir(parents=True)
    if upstream is not None and upstream not in discover_indexes(blank.environ(), blank.assay_cache):
        blank = replace(blank, settings={"PIP_INDEX_URL": upstream, "UV_DEFAULT_INDEX": upstream})
    return Setting(folder, programs, minutes, blank, upstream, keep)


def _freeze(setting: Setting, starting: Starting, stack: ExitStack) -> Besieged:
    """The second index: a release is published, a person gets to know it, and then its signer stands still."""
    index = starting.wait()
    release = release_of(NEW)
    publisher = developer(setting, "second developer", index, index.admin_token or "")
    require(publish_with_twine(setting, publisher, release), "twine upload")
    besieged = Besieged.prepare(setting, "dave", index, release)
    stack.enter_context(Frozen(index.child_pid("signer")))
    return besieged


def _publish_and_install(setting: Setting, index: ServedIndex) -> tuple[Replayed, Release]:
    """Two releases and their installation; what an attacker would have recorded in between, and the newer release."""
    dependency = STRANGER
    if setting.upstream is None or not upstream_answers(index):
        setting.minutes.note(f"no upstream answers ({setting.upstream or 'none is configured'}): local packages only")
        dependency = STAMP
    alice = hire_developer(setting, index)
    if dependency == STAMP:
        tell_publishing(setting, alice, release_of(OLD, name=STAMP), "twine")
    old, new = release_of(OLD, [dependency]), release_of(NEW, [dependency])
    tell_publishing(setting, alice, old, "twine")
    replayed = Replayed.record(index.data, old)
    tell_installing(setting, index, dependency)
    setting.minutes.chapter("4. A security fix")
    tell_publishing(setting, alice, new, "uv")
    return replayed, new


def _attack(setting: Setting, besieged: Besieged, old: Replayed, frozen: Callable[[], Besieged]) -> list[list[str]]:
    """Chapter 5: what needs no key of the index's; returns the rows of the table."""
    setting.minutes.chapter("5. Attacks on the running index, each met by four clients")
    rows = [besiege(setting, besieged, attack) for attack in attacks_on(besieged, old)]
    without_floor = try_without_floor(setting, besieged, old)
    setting.minutes.note(
        "The new clients here start from a bundle (assay trust export), which knows how new the index was. One that\n"
        f"starts from the root's fingerprint alone knows no history; under rollback it {without_floor.words()}, and\n"
        "refuses it, too, when that timestamp expires, after a day."
    )
    second = frozen()
    second.wait_for_expiry()
    return [*rows, besiege(setting, second, expiry_of(second))]


def _seal_and_steal(setting: Setting, besieged: Besieged, release: Release) -> list[str]:
    """Chapter 6: a seal, and the thief that it withstands; returns the row of the table."""
    user = besieged.returning.copy(setting.folder / "people" / "dana")
    tell_sealing(setting, besieged.index, user, release)
    row = besiege(setting, besieged, takeover_of(besieged))
    setting.minutes.note(
        "What was not sealed yet is at the mercy of such a thief, unless the index has witnesses on other machines\n"
        "(docs/witness.md): then nothing that was published can be changed, from the first upload on."
    )
    return row
