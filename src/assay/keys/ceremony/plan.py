"""The plan of a ceremony: one reviewable TOML file that says who holds which role from now on, and what is signed.

Invariants: a key that is not understood is refused, and so is a plan that contradicts itself; a plan says the whole
wanted state, never a change relative to something unseen; it names the very root it starts from, so an old plan fails.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from assay.keys.ceremony.tables import Table, refuse
from assay.model.digests import Sha256, sha256_of
from assay.model.errors import CallerError
from assay.trust.layout import BIN_PREFIX, BINS, OFFLINE_ROLES, ONLINE_ROLES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP
from assay.trust.log.identity import LOG

PLAN_FORMAT: Final = "assay-ceremony-plan/1"
MAX_PLAN_BYTES: Final = 100_000
MAX_PEOPLE: Final = 60
"""Holders, online keys and observers together; a metadata file carries at most 64 signatures."""

_NAME = re.compile(r"\A[a-z0-9][a-z0-9-]{0,31}\Z")

Part = Literal["holder", "spare", "online", "observer"]
"""``holder``: offline key; ``spare``: kept ready, in no role; ``online``: the index's; ``observer``: countersigns."""


@dataclass(frozen=True, slots=True)
class Participant:
    """Somebody, or a machine, with a key. ``key``: the only key id that is accepted for it; None: not said."""

    name: str
    label: str
    part: Part
    key: str | None


@dataclass(frozen=True, slots=True)
class RolePlan:
    """Who signs a role. ``expires`` is None for online roles, which the index renews by itself."""

    role: str
    holders: tuple[str, ...]
    threshold: int
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """The root that clients trust before the ceremony, by version and by the hash of its file."""

    root_version: int
    root_sha256: Sha256


@dataclass(frozen=True, slots=True)
class Replacement:
    """A new identity (re-root): the old root's threshold is lost or stolen, so it cannot vouch for the new one."""

    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A parsed plan. ``sha256`` is of the file's bytes: the identity of the ceremony.

    ``sign``: the roles that get a new version. ``enrol``: who brings a new key in this ceremony; everybody else's key
    comes from the current metadata. Signing is allowed from ``opens`` to ``closes``. ``supersedes``: plans of
    ceremonies that were broken off, whose signatures this one takes the place of. ``log``: the online key that the
    transparency log gets; None: its identity stays as it is.
    """

    sha256: Sha256
    index: str
    purpose: str
    rehearsal: bool
    opens: datetime
    closes: datetime
    sign: tuple[str, ...]
    enrol: tuple[str, ...]
    bin_bits: int
    starts_from: StartingPoint | None
    replaces: Replacement | None
    supersedes: tuple[Sha256, ...]
    log: str | None
    participants: Mapping[str, Participant]
    roles: Mapping[str, RolePlan]

    def named(self, part: Part) -> tuple[str, ...]:
        """The names of everybody of that part, in the plan's order."""
        return tuple(name for name, someone in self.participants.items() if someone.part == part)

    def roles_of(self, name: str) -> tuple[str, ...]:
        """The roles that ``name`` holds; ``log`` for the key of the transparency log."""
        held = tuple(role for role, planned in self.roles.items() if name in planned.holders)
        return (*held, LOG) if name == self.log else held

    @property
    def next_root_version(self) -> int:
        """The version of the root that counts after the ceremony."""
        before = self.starts_from.root_version if self.starts_from else 0
        return before + 1 if ROOT in self.sign else before


def parse_plan(data: bytes) -> Plan:
    """Read a plan. Raises CallerError naming the key that is wrong and what was expected there."""
    if len(data) > MAX_PLAN_BYTES:
        raise CallerError("the plan is too large", rule="plan", expected=f"at most {MAX_PLAN_BYTES} bytes")
    try:
        document = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CallerError("the plan is not TOML", rule="plan", found=str(error)) from error
    top = Table(document, "")
    top.literal("format", PLAN_FORMAT)
    window = top.table("window")
    plan = Plan(
        sha256=sha256_of(data),
        index=top.label("index"),
        purpose=top.label("purpose"),
        rehearsal=top.boolean("rehearsal", default=False),
        opens=window.moment("opens"),
        closes=window.moment("closes"),
        sign=top.names("sign"),
        enrol=top.names("enrol", default=()),
        bin_bits=top.integer("bin_bits", 1, 15),
        starts_from=_parse_start(top.optional_table("starts_from")),
        replaces=_parse_replacement(top.optional_table("replaces")),
        supersedes=top.digests("supersedes"),
        log=_parse_log(top.optional_table("log")),
        participants=_parse_participants(top),
        roles=_parse_roles(top.table("roles")),
    )
    window.require_empty()
    top.require_empty()
    _require_consistent(plan)
    return plan


def _parse_start(table: Table | None) -> StartingPoint | None:
    if table is None:
        return None
    found = StartingPoint(table.integer("root_version", 1, 1 << 31), table.digest("root_sha256"))
    table.require_empty()
    return found


def _parse_replacement(table: Table | None) -> Replacement | None:
    if table is None:
        return None
    found = Replacement(table.label("reason"))
    table.require_empty()
    return found


def _parse_log(table: Table | None) -> str | None:
    if table is None:
        return None
    name = table.label("holder")
    table.require_empty()
    return name


def _parse_participants(top: Table) -> dict[str, Participant]:
    sections: dict[str, Part] = {"holders": "holder", "spares": "spare", "online": "online", "observers": "observer"}
    found: dict[str, Participant] = {}
    for section, part in sections.items():
        group = top.optional_table(section)
        if group is None:
            continue
        for name in group.names_left():
            require_name(name, f"{section}.{name}")
            if name in found:
                raise refuse(f"{section}.{name}", "a name that is used once", name)
            entry = group.table(name)
            found[name] = Participant(name, entry.label("name"), part, entry.key_id("key"))
            entry.require_empty()
    if len(found) > MAX_PEOPLE:
        raise refuse("holders", f"at most {MAX_PEOPLE} participants", str(len(found)))
    return found


def _parse_roles(table: Table) -> dict[str, RolePlan]:
    found = {}
    for role in (*OFFLINE_ROLES, *ONLINE_ROLES):
        entry = table.table(role)
        expires = entry.moment("expires") if role in OFFLINE_ROLES else None
        found[role] = RolePlan(role, entry.names("holders"), entry.integer("threshold", 1, MAX_PEOPLE), expires)
        entry.require_empty()
    table.require_empty()
    return found


def _require_consistent(plan: Plan) -> None:
    """The plan holds together by itself; what it starts from is compared in ``building``."""
    if not plan.opens < plan.closes:
        raise refuse("window.closes", f"after {plan.opens:%Y-%m-%d %H:%M}", f"{plan.closes:%Y-%m-%d %H:%M}")
    for role, planned in plan.roles.items():
        _require_sound_role(plan, role, planned)
    for role in plan.sign:
        if role not in OFFLINE_ROLES:
            raise refuse("sign", f"roles of {', '.join(OFFLINE_ROLES)}", role)
    if not plan.sign:
        raise refuse("sign", "at least one role", "none")
    if plan.starts_from is None and set(plan.sign) != set(OFFLINE_ROLES):
        raise refuse("sign", f"all of {', '.join(OFFLINE_ROLES)} in a first ceremony", ", ".join(plan.sign))
    if plan.replaces is not None and (plan.starts_from is None or set(plan.sign) != set(OFFLINE_ROLES)):
        raise refuse("replaces", f"starts_from, and sign with all of {', '.join(OFFLINE_ROLES)}", "less than that")
    _require_sound_log(plan)
    for name in plan.enrol:
        if name not in plan.participants:
            raise refuse("enrol", "names of holders, spares, online keys or observers", name)
    absent = [name for name in plan.participants if name not in plan.enrol]
    if plan.starts_from is None and absent:
        raise refuse("enrol", "everybody in a first ceremony: nobody's key is known yet", f"not {', '.join(absent)}")


def _require_sound_log(plan: Plan) -> None:
    """The log's key is an online one that serves nothing else, brought now and named in targets."""
    if plan.log is None:
        return
    if plan.log not in plan.enrol or plan.log not in plan.named("online") or TARGETS not in plan.sign:
        raise refuse("log.holder", "an online key that is listed in `enrol`, and targets in `sign`", plan.log)
    if len(plan.roles_of(plan.log)) > 1:
        raise refuse("log.holder", "an online key that holds no role", plan.log)


def _require_sound_role(plan: Plan, role: str, planned: RolePlan) -> None:
    part: Part = "holder" if role in OFFLINE_ROLES else "online"
    for name in planned.holders:
        if name not in plan.named(part):
            raise refuse(f"roles.{role}.holders", f"names of the {part} keys: {', '.join(plan.named(part))}", name)
    shared = [name for name in planned.holders if part == "online" and len(plan.roles_of(name)) > 1]
    if shared:
        raise refuse(f"roles.{role}.holders", "online keys that hold one role each", shared[0])
    if planned.threshold > len(planned.holders):
        raise refuse(f"roles.{role}.threshold", f"at most {len(planned.holders)}", str(planned.threshold))
    if planned.expires is not None and role in plan.sign and planned.expires <= plan.closes:
        raise refuse(f"roles.{role}.expires", "after the window closes", f"{planned.expires:%Y-%m-%d %H:%M}")


def is_name(text: str) -> bool:
    """Whether a plan can name somebody so: small letters, digits and dashes, at most 32."""
    return _NAME.match(text) is not None


def require_name(text: str, subject: str) -> None:
    """Raise CallerError unless ``text`` is a name: small letters, digits and dashes, at most 32."""
    if not is_name(text):
        raise refuse(subject, "small letters, digits and dashes, at most 32", repr(text[:80]))


TOP_LEVEL_ROLES: Final = (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)
DELEGATED_ROLES: Final = {BINS: TARGETS, BIN_PREFIX: BINS}
"""Who delegates a role that root does not name."""
