"""A first draft of a plan, for people to edit: from names alone, or from the metadata that counts now.

What the draft of a next plan says is the present state: whoever is there stays. The editor changes what shall change.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from securesystemslib.signer import Key

from assay.keys.ceremony.building import keys_named, threshold_of
from assay.keys.ceremony.current import Current
from assay.keys.ceremony.enrolment import HOLDER_MARK, holder_of
from assay.keys.ceremony.plan import PLAN_FORMAT, require_name
from assay.keys.ceremony.tables import refuse
from assay.model.digests import Sha256
from assay.trust.layout import BIN_PREFIX, BINS, OFFLINE_ROLES, ONLINE_ROLES, Lifetimes
from assay.trust.log.identity import LOG, named_log
from assay.trust.plan import succinct_roles

_MOMENT = "%Y-%m-%dT%H:%M:%SZ"
NEXT_LOG = f"{LOG}-key"
"""The name that a draft gives to a new key of the transparency log."""
WINDOW = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a draft is made of. ``keys``: name -> key id, where it is known; ``roles``: role -> names and threshold."""

    index: str
    purpose: str
    sign: tuple[str, ...]
    enrol: tuple[str, ...]
    observers: tuple[str, ...]
    bin_bits: int
    starts_from: tuple[int, Sha256] | None
    replaces: str | None
    keys: dict[str, str | None]
    roles: dict[str, tuple[tuple[str, ...], int]]
    rehearsal: bool = False
    log: str | None = None


def draft_first(
    index: str, holders: Sequence[str], threshold: int, observers: Sequence[str], *, bin_bits: int, rehearsal: bool
) -> Draft:
    """The plan of an index's first ceremony: ``holders`` hold every offline role, the index the online ones."""
    online = [f"{role}-1" for role in (*ONLINE_ROLES, LOG)]
    roles = {role: (tuple(holders), threshold) for role in OFFLINE_ROLES}
    roles |= {role: ((name,), 1) for role, name in zip(ONLINE_ROLES, online, strict=False)}
    everybody = (*holders, *online, *observers)
    keys: dict[str, str | None] = dict.fromkeys((*holders, *online))
    return Draft(
        index=index,
        purpose="the first root",
        sign=OFFLINE_ROLES,
        enrol=everybody,
        observers=tuple(observers),
        bin_bits=bin_bits,
        starts_from=None,
        replaces=None,
        keys=keys,
        roles=roles,
        rehearsal=rehearsal,
        log=online[-1],
    )


def draft_next(
    index: str, current: Current, observers: Sequence[str], changing: Sequence[str], replaces: str | None
) -> Draft:
    """The plan of a later ceremony: the present state, with new keys for the names in ``changing``.

    ``replaces``: the reason of a new identity; then everybody brings a new key.
    """
    roles: dict[str, tuple[tuple[str, ...], int]] = {}
    keys: dict[str, str | None] = {}
    for role in (*OFFLINE_ROLES, *ONLINE_ROLES):
        delegator = current.bins if role == BIN_PREFIX else current.targets if role == BINS else current.root
        named = keys_named(delegator, role)
        names = tuple(_name_of(key, role, number) for number, key in enumerate(named.values(), 1))
        roles[role] = names, threshold_of(delegator, role)
        keys |= {name: None if holder_of(key) else key.keyid for name, key in zip(names, named.values(), strict=True)}
    has_log = named_log(current.targets) is not None
    changing = [*keys, *([NEXT_LOG] if has_log else [])] if replaces is not None else list(changing)
    if NEXT_LOG in changing and has_log:
        keys[NEXT_LOG] = None
    for name in changing:
        if name not in keys:
            raise refuse("new keys for", f"names of the current metadata: {', '.join(keys)}", name)
        keys[name] = None
    return Draft(
        index,
        "a new identity" if replaces is not None else "rotation" if changing else "renewal",
        OFFLINE_ROLES,
        (*changing, *observers),
        tuple(observers),
        succinct_roles(current.bins).bit_length,
        (current.root.version, current.root_sha256),
        replaces,
        keys,
        roles,
        log=NEXT_LOG if NEXT_LOG in changing else None,
    )


def render_draft(draft: Draft, opens: datetime, lifetimes: Lifetimes | None = None) -> str:
    """The draft as TOML with comments. ``opens`` in UTC; signing is open for two weeks from then."""
    lives = lifetimes or Lifetimes()
    opens = opens.replace(microsecond=0)
    ends = {"root": lives.root, "targets": lives.targets, "bins": lives.bins}
    lines = [
        f"format = {_quote(PLAN_FORMAT)}",
        f"index = {_quote(draft.index)}",
        f"purpose = {_quote(draft.purpose)}",
        f"rehearsal = {str(draft.rehearsal).lower()}",
        f"bin_bits = {draft.bin_bits}                # 2**bin_bits bins (docs/scale.md)",
        f"sign = {_names(draft.sign)}      # these roles get a new version",
        f"enrol = {_names(draft.enrol)}   # these bring a new key",
        "",
        "[window]                     # signing is allowed between these",
        f"opens = {opens.strftime(_MOMENT)}",
        f"closes = {(opens + WINDOW).strftime(_MOMENT)}",
    ]
    if draft.starts_from is not None:
        version, digest = draft.starts_from
        lines += ["", "[starts_from]                # the root that counts now", f"root_version = {version}"]
        lines += [f"root_sha256 = {_quote(digest)}"]
    if draft.replaces is not None:
        lines += ["", "[replaces]                   # a NEW IDENTITY: no client follows by itself"]
        lines += [f"reason = {_quote(draft.replaces)}"]
    for name, keyid in draft.keys.items():
        online = name == draft.log or any(name in draft.roles[role][0] for role in ONLINE_ROLES)
        section = "online" if online else "holders"
        lines += ["", f"[{section}.{name}]", f"name = {_quote(name)}"]
        lines += [f"key = {_quote(keyid)}"] if keyid else []
    for name in draft.observers:
        lines += ["", f"[observers.{name}]             # countersigns the transcript", f"name = {_quote(name)}"]
    if draft.log is not None:
        lines += ["", "[log]                        # the transparency log's key", f"holder = {_quote(draft.log)}"]
    for role, (names, threshold) in draft.roles.items():
        lines += ["", f"[roles.{role}]", f"holders = {_names(names)}", f"threshold = {threshold}"]
        lines += [f"expires = {(opens + WINDOW + ends[role]).strftime(_MOMENT)}"] if role in ends else []
    return "\n".join(lines) + "\n"


def _name_of(key: Key, role: str, number: int) -> str:
    """The name that the key's mark says, else one made of the role (as for a local ceremony's keys)."""
    if key.unrecognized_fields.get(HOLDER_MARK) is None:
        return f"{role}-key-{number}"
    name = holder_of(key) or ""
    require_name(name, "the mark on a key")
    return name


def _quote(text: str) -> str:
    if not text.isprintable():
        raise refuse("plan", "printable text", repr(text[:80]))
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _names(names: Sequence[str]) -> str:
    return "[" + ", ".join(_quote(name) for name in names) + "]"
