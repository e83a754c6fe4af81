"""The steps of a ceremony around the signing: begin, enrol, build, merge, note, countersign. Each writes one entry.

Invariant: a step that is run again after it was done changes nothing, or is refused; none depends on the order of the
holders.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from securesystemslib.signer import SSlibKey

from assay.keys.ceremony.building import build
from assay.keys.ceremony.current import FOLDER as CURRENT
from assay.keys.ceremony.current import parse_current, read_current
from assay.keys.ceremony.enrolment import (
    FOLDER as ENROLMENTS,
)
from assay.keys.ceremony.enrolment import (
    Enrolment,
    holder_of,
    marked_key,
    parse_enrolment,
    read_enrolments,
    render_enrolment,
)
from assay.keys.ceremony.home import Home, OwnKey
from assay.keys.ceremony.plan import Plan, parse_plan
from assay.keys.ceremony.signing import PAYLOADS, PLAN, Case, open_case, payload_name, read_plan
from assay.keys.ceremony.stick import Stick
from assay.keys.ceremony.surroundings import Surroundings, require_clock, require_no_network
from assay.keys.ceremony.transcript import Entry, Step, read_transcript, record
from assay.keys.custody import open_signer
from assay.keys.passphrase import SecretsOf, SecretsProvider
from assay.model.errors import AlreadyExists, CallerError, NotFound


def begin(stick: Stick, plan_file: bytes, current: Mapping[str, bytes], surroundings: Surroundings) -> Plan:
    """Put the plan and the metadata it starts from on an empty stick. Raises when they do not fit each other."""
    plan = parse_plan(plan_file)
    if plan.starts_from is not None:
        parse_current(current, plan.starts_from)
    elif current:
        raise CallerError("the plan is for a first ceremony, and there is current metadata", rule="plan-start")
    step = Step("plan", facts={"index": plan.index, "purpose": plan.purpose, "rehearsal": str(plan.rehearsal).lower()})
    record(stick, surroundings, step, {PLAN: plan_file, **current})
    return plan


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that somebody brings: its URI, its public half, what the machine says of its place, its attestation."""

    uri: str
    key: SSlibKey
    custody: Mapping[str, str]
    attestation_pem: tuple[str, ...] = ()


def enrol(
    stick: Stick,
    home: Home,
    name: str,
    new: NewKey,
    surroundings: Surroundings,
    secrets: SecretsProvider,
    network_reason: str | None = None,
) -> Enrolment:
    """Prove to have ``new`` and put the public half on the stick as ``name``'s. Once more with the same key: nothing.

    ``network_reason``: as for ``sign``; an online key needs none. Raises CallerError, AlreadyExists, KeyUnavailable.
    """
    plan = require_place(stick, name, surroundings, network_reason)
    participant = plan.participants[name]
    key = marked_key(new.key, name, rehearsal=plan.rehearsal)
    file = f"{ENROLMENTS}{name}.json"
    if file in stick.files:
        return _require_same(parse_enrolment(stick.read(file), plan, name), key)
    signer = open_signer(new.uri, key, secrets)
    data = render_enrolment(plan, signer, key, surroundings.now, new.custody, new.attestation_pem)
    enrolment = parse_enrolment(data, plan, name)
    home.add_key(OwnKey(new.uri, key))
    exceptions = [f"enrolled on a machine with a network: {network_reason}"] if network_reason else []
    facts = {"name": name, "part": participant.part, "key": key.keyid, "scheme": key.scheme, **dict(new.custody)}
    if enrolment.attestation is not None:
        facts["attested_by"] = f"{enrolment.attestation.authority} (sha256 {enrolment.attestation.authority_sha256})"
    record(stick, surroundings, Step("enroll", (PLAN,), facts, tuple(exceptions)), {file: data}, signer)
    return enrolment


def require_place(stick: Stick, name: str, surroundings: Surroundings, network_reason: str | None) -> Plan:
    """The plan, if ``name`` may enrol by it here and now; asked before a key is made, so that none is made in vain."""
    plan = read_plan(stick)
    participant = plan.participants.get(name)
    if participant is None or name not in plan.enrol:
        raise CallerError(
            "the plan does not ask for a key of this name", subject=name, rule="plan", expected=", ".join(plan.enrol)
        )
    if network_reason is None and participant.part != "online":
        require_no_network(surroundings)
    require_clock(surroundings.now, plan.opens, plan.closes, "the plan's window")
    return plan


def _require_same(enrolment: Enrolment, key: SSlibKey) -> Enrolment:
    if enrolment.key != key:
        raise AlreadyExists(
            "somebody has enrolled under this name with another key",
            subject=enrolment.name,
            rule="enrolment-taken",
            expected=key.keyid,
            found=enrolment.key.keyid,
            next_step="if it was not you: stop, and note it with the witness; if it was: begin anew with a fresh stick",
        )
    return enrolment


def build_payloads(stick: Stick, surroundings: Surroundings) -> Case:
    """Make what will be signed and put it on the stick. Again: nothing happens."""
    if stick.names(PAYLOADS):
        return open_case(stick)
    plan = read_plan(stick)
    require_clock(surroundings.now, plan.opens, plan.closes, "the plan's window")
    built = build(plan, read_current(stick, plan), read_enrolments(stick, plan))
    outputs = {payload_name(role): payload for role, payload in built.payloads.items()}
    inputs = (PLAN, *stick.names(CURRENT), *stick.names(ENROLMENTS))
    record(stick, surroundings, Step("build", inputs), outputs)
    return open_case(stick)


def note(stick: Stick, surroundings: Surroundings, witness: str, text: str) -> Entry:
    """Note an exception: something that did not go as the script says, in the witness's words."""
    for line in (witness, text):
        if not line.strip() or not line.isprintable() or len(line) > 1000:
            raise CallerError("a note is one printable line of at most 1000 characters", found=repr(line[:80]))
    return record(stick, surroundings, Step("note", facts={"witness": witness}, exceptions=(text,)), {})


def countersign(stick: Stick, home: Home, surroundings: Surroundings, secrets_of: SecretsOf) -> Entry:
    """Seal everything that was done so far with this home's key: "this is what happened, and I was there"."""
    plan = read_plan(stick)
    enrolments = read_enrolments(stick, plan)
    own = home.read().keys
    mine = next((one for one in enrolments.values() if one.key.keyid in own), None)
    own_key = _signing_key(stick, home) if mine is None else own[mine.key.keyid]
    signer = open_signer(own_key.uri, own_key.key, secrets_of(own_key.uri))
    last = read_transcript(stick)[-1]
    facts = {"name": holder_of(signer.public_key) or signer.public_key.keyid, "up_to": f"{last.number} ({last.sha256})"}
    return record(stick, surroundings, Step("countersign", facts=facts), {}, signer)


def _signing_key(stick: Stick, home: Home) -> OwnKey:
    """The key with which a holder who did not enrol now countersigns: the one that the metadata names."""
    case = open_case(stick)
    known = {keyid for role in case.built.payloads for keyid in case.signers_of(role)}
    own = next((one for keyid, one in home.read().keys.items() if keyid in known), None)
    if own is None:
        raise NotFound("none of this home's keys has a part in this ceremony", next_step="is this the right --home?")
    return own
