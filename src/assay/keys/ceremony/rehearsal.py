"""A whole ceremony on one machine, to practise: the plan's people and thresholds, software keys, every step for real.

Invariant: its plan says ``rehearsal = true``, so its keys carry the mark and production refuses all of it.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from assay import durable
from assay.keys.ceremony.assembling import merge, verify
from assay.keys.ceremony.audit import Audit, audit
from assay.keys.ceremony.drafting import Draft, render_draft
from assay.keys.ceremony.home import Home
from assay.keys.ceremony.plan import Plan, parse_plan
from assay.keys.ceremony.publishing import REHEARSAL_MARKER, publish_offline
from assay.keys.ceremony.signing import show, sign
from assay.keys.ceremony.steps import NewKey, begin, build_payloads, countersign, enrol
from assay.keys.ceremony.stick import Stick
from assay.keys.ceremony.surroundings import Surroundings
from assay.keys.ceremony.words import fingerprint_words
from assay.keys.custody import key_file_uri
from assay.keys.files import Scheme, create_key_file
from assay.keys.passphrase import SecretsProvider
from assay.model.errors import AlreadyExists, KeyUnavailable
from assay.trust.layout import OFFLINE_ROLES

_REASON = "a rehearsal"


def rehearse(plan: Plan, folder: Path, surroundings: Surroundings, tell: Callable[[str], None]) -> Audit:
    """Hold ``plan`` as a rehearsal below the new folder ``folder``: ``homes/``, ``stick/``, ``data/``, ``plan.toml``.

    Everybody brings a new software key, and the first of the holders sign until every threshold is reached.
    """
    if folder.exists():
        raise AlreadyExists("a rehearsal begins in a new folder", subject=str(folder))
    text = render_draft(_as_rehearsal(plan), surroundings.now).encode()
    practice = parse_plan(text)
    durable.make_folder(folder / "stick")
    durable.write_file(folder / "plan.toml", text)
    tell(f"plan: {folder / 'plan.toml'}, of {practice.index}, as a rehearsal")
    stick = Stick.create(folder / "stick")
    begin(stick, text, {}, surroundings)
    for name in practice.enrol:
        _enrol(stick, folder, name, _as(surroundings, name))
        tell(f"enroll: {name}")
    case = build_payloads(stick, _as(surroundings, "office"))
    words = " ".join(fingerprint_words(case.fingerprint))
    tell(f"build: the words are {words}")
    for name in _signers(practice):
        home, at = Home(folder / "homes" / name), _as(surroundings, name)
        show(stick, home, at)
        sign(stick, home, at, _nobody_of, lambda: words, _REASON)
        tell(f"show, sign: {name}")
    merge(stick, _as(surroundings, "office"))
    bundle = verify(stick, surroundings.now)
    for name in practice.named("observer"):
        countersign(stick, Home(folder / "homes" / name), _as(surroundings, name), _nobody_of)
        tell(f"countersign: {name}")
    durable.write_file(folder / "data" / REHEARSAL_MARKER, b"This data folder is a rehearsal's.\n")
    handover = publish_offline(bundle, folder / "data")
    tell(f"publish: {', '.join(handover.files)} below {folder / 'data'}")
    return audit(Stick.open(folder / "stick"))


def _as_rehearsal(plan: Plan) -> Draft:
    people = [name for name, one in plan.participants.items() if one.part in ("holder", "online")]
    return Draft(
        index=plan.index,
        purpose=f"rehearsal of: {plan.purpose}"[:200],
        sign=OFFLINE_ROLES,
        enrol=(*people, *plan.named("observer")),
        observers=plan.named("observer"),
        bin_bits=plan.bin_bits,
        starts_from=None,
        replaces=None,
        keys=dict.fromkeys(people),
        roles={role: (planned.holders, planned.threshold) for role, planned in plan.roles.items()},
        rehearsal=True,
        log=plan.log,
    )


def _enrol(stick: Stick, folder: Path, name: str, surroundings: Surroundings) -> None:
    home = Home(folder / "homes" / name)
    path = home.folder / "key.pem"
    key = create_key_file(path, Scheme.ED25519, None)
    new = NewKey(key_file_uri(path, encrypted=False), key, {"kind": "software key of a rehearsal"})
    enrol(stick, home, name, new, surroundings, _nobody, _REASON)


def _signers(plan: Plan) -> tuple[str, ...]:
    """The first holders of each offline role, as many as it takes."""
    needed = [name for role in OFFLINE_ROLES for name in plan.roles[role].holders[: plan.roles[role].threshold]]
    return tuple(dict.fromkeys(needed))


def _as(surroundings: Surroundings, name: str) -> Surroundings:
    return replace(surroundings, operator=name, machine=f"{surroundings.machine} (rehearsal)")


def _nobody(name: str) -> str:
    raise KeyUnavailable(f"a rehearsal asks for no {name}")


def _nobody_of(_uri: str) -> SecretsProvider:
    return _nobody
