"""Signing on a holder's own machine, and showing what will be signed. Nothing of the stick is believed.

The order, each step the condition of the next: no network; the plan's window and this machine's clock; the payloads
made again here from plan, current metadata and enrolments are those on the stick; this home showed exactly them, and
signed no later version; the holder typed the fingerprint's words, which came from the room and not from the stick. Only
then is a key opened. What was signed is remembered before it exists.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import orjson
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Key, Signature, Signer

from assay.keys.ceremony.building import Built, build, ceremony_fingerprint, keys_named, signing_keys
from assay.keys.ceremony.current import Current, read_current
from assay.keys.ceremony.enrolment import Enrolment, holder_of, is_rehearsal_key, read_enrolments
from assay.keys.ceremony.home import Home, OwnKey, Signed
from assay.keys.ceremony.plan import Plan, parse_plan
from assay.keys.ceremony.stick import Stick
from assay.keys.ceremony.surroundings import Surroundings, require_clock, require_no_network
from assay.keys.ceremony.transcript import Step, read_transcript, record
from assay.keys.ceremony.words import require_typed_words
from assay.keys.custody import open_signer, sign_bytes
from assay.keys.passphrase import SecretsOf
from assay.model.digests import Sha256, sha256_of
from assay.model.errors import AssayError, KeyUnavailable, NotFound, VerificationFailed

PLAN: Final = "plan.toml"
PAYLOADS: Final = "payloads/"
"""The exact bytes that signatures are over: canonical JSON, whose strings hold bare line feeds, so it is not JSON."""
SIGNATURES: Final = "signatures/"


@dataclass(frozen=True, slots=True)
class Case:
    """Everything on the stick that says what is to be signed, checked against itself. Only ``open_case`` makes one."""

    plan: Plan
    current: Current | None
    enrolments: Mapping[str, Enrolment]
    built: Built
    fingerprint: Sha256

    def signers_of(self, role: str) -> dict[str, Key]:
        """Key id -> key of everybody whose signature on ``role`` counts."""
        return signing_keys(self.plan, self.current, self.built, role)


def read_plan(stick: Stick) -> Plan:
    """The stick's plan."""
    return parse_plan(stick.read(PLAN))


def open_case(stick: Stick) -> Case:
    """Make the payloads again and compare them with the stick's. Raises VerificationFailed when they differ."""
    plan = read_plan(stick)
    current = read_current(stick, plan)
    enrolments = read_enrolments(stick, plan)
    built = build(plan, current, enrolments)
    listed = set(stick.names(PAYLOADS))
    if not listed:
        raise NotFound("nothing is built yet", next_step="`assay ceremony build`")
    expected = {payload_name(role): payload for role, payload in built.payloads.items()}
    for name in sorted(listed | set(expected)):
        if name not in listed or stick.read(name) != expected.get(name):
            raise VerificationFailed(
                "this payload does not follow from the plan, the current metadata and the enrolments",
                subject=name,
                rule="payload-swapped",
                expected=f"sha256 {sha256_of(expected[name])}" if name in expected else "no such payload",
                found=f"sha256 {stick.files[name].sha256}" if name in listed else "no such payload",
                next_step="stop; note it with the witness; find out who held the stick since it was built",
            )
    return Case(plan, current, enrolments, built, ceremony_fingerprint(plan, built))


def show(stick: Stick, home: Home, surroundings: Surroundings) -> Case:
    """What would be signed; remembered in ``home``, because ``sign`` signs only what was shown."""
    case = open_case(stick)
    _require_now(stick, case.plan, home, surroundings)
    home.remember_shown(case.plan.sha256, case.fingerprint, surroundings.now)
    return case


def sign(
    stick: Stick,
    home: Home,
    surroundings: Surroundings,
    secrets_of: SecretsOf,
    ask_words: Callable[[], str],
    network_reason: str | None = None,
) -> tuple[str, ...]:
    """Sign every role that this home's keys may sign, each key once; returns the files written on the stick.

    ``ask_words``: what the holder types when everything else is in order; ``secrets_of``: a key's URI -> its secret.
    ``network_reason``: why this machine may have a network (noted as an exception); None: it may not.
    Raises OperatorError, NotFresh, VerificationFailed, CallerError or KeyUnavailable; nothing is signed then.
    """
    if network_reason is None:
        require_no_network(surroundings)
    case = open_case(stick)
    _require_now(stick, case.plan, home, surroundings)
    home.require_shown(case.plan.sha256, case.fingerprint)
    own = home.read().keys
    _require_own_place(case, own)
    wanted = _wanted(stick, case, own)
    if not wanted:
        return ()
    planned = _require_lawful(case, home, wanted)
    require_typed_words(ask_words(), case.fingerprint)
    mine = [own[keyid] for keyid in dict.fromkeys(wanted.values())]
    signers = {one.key.keyid: open_signer(one.uri, one.key, secrets_of(one.uri)) for one in mine}
    home.remember_signed(case.plan.index, planned, surroundings.now)
    outputs = {
        name: _render_signature(sign_bytes(signers[keyid], case.built.payloads[_role_of(name)]), case, _role_of(name))
        for name, keyid in wanted.items()
    }
    _record_signing(stick, surroundings, case, outputs, next(iter(signers.values())), network_reason)
    return tuple(outputs)


def payload_name(role: str) -> str:
    """Where a payload lies on the stick."""
    return f"{PAYLOADS}{role}.canonical"


def signature_name(role: str, keyid: str) -> str:
    """Where a detached signature lies on the stick."""
    return f"{SIGNATURES}{role}/{keyid}.json"


def read_signatures(stick: Stick, case: Case, role: str) -> dict[str, Signature]:
    """Key id -> signature on ``role``, each verified. Raises VerificationFailed for any that does not verify."""
    found = {}
    keys = case.signers_of(role)
    payload = case.built.payloads[role]
    for name in stick.names(f"{SIGNATURES}{role}/"):
        signature, bound = _parse_signature(stick.read(name), name)
        if bound != sha256_of(payload):
            raise _bad_signature(name, "it is for another payload", f"sha256 {bound}")
        key = keys.get(signature.keyid)
        if key is None or name != signature_name(role, signature.keyid):
            raise _bad_signature(name, "its key may not sign this role", signature.keyid)
        try:
            key.verify_signature(signature, payload)
        except UnverifiedSignatureError as error:
            raise _bad_signature(name, "it does not verify", signature.keyid) from error
        found[signature.keyid] = signature
    return found


def _require_now(stick: Stick, plan: Plan, home: Home, surroundings: Surroundings) -> None:
    """The clock is inside the plan's window and not behind what the transcript and this home have seen."""
    require_clock(surroundings.now, plan.opens, plan.closes, "the plan's window")
    require_clock(surroundings.now, read_transcript(stick)[-1].time, plan.closes, "the last step in the transcript")
    require_clock(surroundings.now, home.read().latest, plan.closes, "the last step that this home has seen")


def _require_own_place(case: Case, own: Mapping[str, OwnKey]) -> None:
    """The payload names this home's keys for this home's names; nobody else's key stands under them."""
    names = {holder_of(mine.key) for mine in own.values()} - {None}
    for role in case.plan.roles:
        for keyid, key in keys_named(case.built.delegator(role), role).items():
            if holder_of(key) in names and keyid not in own:
                raise VerificationFailed(
                    "somebody else's key stands under your name",
                    subject=str(holder_of(key)),
                    rule="foreign-key",
                    expected=f"one of your keys: {', '.join(own)}",
                    found=keyid,
                    next_step="stop; note it with the witness: whoever built this enrolled in your name",
                )
    for keyid, mine in own.items():
        if keyid in _all_signers(case) and is_rehearsal_key(mine.key) != case.plan.rehearsal:
            raise KeyUnavailable("a rehearsal's key signs rehearsals only", rule="rehearsal-key", subject=keyid)


def _all_signers(case: Case) -> set[str]:
    return {keyid for role in case.built.payloads for keyid in case.signers_of(role)}


def _wanted(stick: Stick, case: Case, own: Mapping[str, OwnKey]) -> dict[str, str]:
    """File name -> key id of every signature that this home can make and the stick lacks."""
    found = {
        signature_name(role, keyid): keyid
        for role in case.built.payloads
        for keyid in case.signers_of(role)
        if keyid in own
    }
    if not found:
        raise KeyUnavailable(
            "none of this home's keys has a part in this ceremony",
            found=", ".join(own) or "no keys",
            next_step="is this the right --home?",
        )
    return {name: keyid for name, keyid in found.items() if name not in stick.files}


def _require_lawful(case: Case, home: Home, wanted: Mapping[str, str]) -> dict[str, Signed]:
    planned = {}
    for role in dict.fromkeys(_role_of(name) for name in wanted):
        intended = Signed(case.built.role(role).version, sha256_of(case.built.payloads[role]), case.plan.sha256)
        home.require_unsigned(case.plan.index, role, intended, case.plan.supersedes)
        planned[role] = intended
    return planned


def _record_signing(
    stick: Stick,
    surroundings: Surroundings,
    case: Case,
    outputs: Mapping[str, bytes],
    seal: Signer,
    network_reason: str | None,
) -> None:
    exceptions = [f"signed on a machine with a network: {network_reason}"] if network_reason else []
    facts = {
        "fingerprint": case.fingerprint,
        "key": seal.public_key.keyid,
        "holder": holder_of(seal.public_key) or "not named in the metadata",
        "network": ", ".join(surroundings.networks) or "none",
    }
    inputs = (PLAN, *(payload_name(role) for role in case.built.payloads))
    record(stick, surroundings, Step("sign", inputs, facts, tuple(exceptions)), outputs, seal)


def _role_of(name: str) -> str:
    return name.split("/")[1]


def _render_signature(signature: Signature, case: Case, role: str) -> bytes:
    return orjson.dumps(
        {"payload_sha256": sha256_of(case.built.payloads[role]), "role": role, "signature": signature.to_dict()},
        option=orjson.OPT_SORT_KEYS,
    )


def _parse_signature(data: bytes, name: str) -> tuple[Signature, str]:
    try:
        document = orjson.loads(data)
        if set(document) != {"payload_sha256", "role", "signature"} or document["role"] != _role_of(name):
            raise ValueError("not a signature for this role")
        return Signature.from_dict(dict(document["signature"])), str(document["payload_sha256"])
    except (ValueError, KeyError, TypeError, AttributeError, AssayError) as error:
        raise _bad_signature(name, "it is malformed", f"{type(error).__name__}: {error}") from error


def _bad_signature(name: str, why: str, found: str) -> VerificationFailed:
    return VerificationFailed(f"this signature does not count: {why}", subject=name, rule="bad-signature", found=found)
