"""The ceremony of one machine: what ``assay serve`` holds when its data folder is empty.

All keys are made here, which protects against a broken mirror, cache or database, not against somebody who takes this
machine while ``offline/`` is still on it. ``offline/`` is meant to be moved away; the index runs without it until the
offline roles expire. For keys that never meet on one machine see docs/ceremony.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from securesystemslib.signer import SSlibKey
from tuf.api.metadata import Root, Targets

from assay.keys.ceremony.enrolment import marked_key
from assay.keys.ceremony.plan import is_name
from assay.keys.files import Scheme, create_key_file, load_key_file
from assay.trust.envelope import sign_envelope
from assay.trust.layout import (
    BIN_PREFIX,
    BINS,
    OFFLINE_ROLES,
    ONLINE_ROLES,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    Lifetimes,
)
from assay.trust.log.identity import LOG, identity_of_key, name_log
from assay.trust.log.note import VerifierKey
from assay.trust.plan import plan_bins, plan_root, plan_targets


@dataclass(frozen=True, slots=True)
class KeyFolder:
    """Where a data folder keeps its key files: ``online/`` for the signer, ``offline/`` until it is moved away."""

    root: Path

    def path(self, role: str) -> Path:
        """The key file of ``role``."""
        return self.root / ("offline" if role in OFFLINE_ROLES else "online") / f"{role}.pem"


@dataclass(frozen=True, slots=True)
class LocalWitness:
    """A witness that co-signs from the first publication on. ``keys``: online role -> public key; ``log``: under the
    log's checkpoints.
    """

    keys: Mapping[str, SSlibKey]
    log: VerifierKey

    def marked(self, role: str) -> SSlibKey:
        """The key of ``role`` as it stands in metadata: with the witness's name, where plans can hold that."""
        name = f"{self.log.name}-{role}"
        return marked_key(self.keys[role], name, rehearsal=False) if is_name(name) else self.keys[role]


def hold_local_ceremony(
    keys: KeyFolder,
    passphrase: bytes | None,
    now: datetime,
    bit_length: int,
    lifetimes: Lifetimes,
    witnesses: Sequence[LocalWitness] = (),
    witnesses_needed: int = 1,
) -> Mapping[str, bytes]:
    """Make one Ed25519 key for each role and for the log, and sign version 1 of the offline roles.

    Returns role -> signed file for ``root``, ``targets`` and ``bins``. ``passphrase`` None leaves the key files
    unencrypted (``--insecure-dev-keys``). 2**``bit_length`` is the number of bins. With ``witnesses`` every online role
    needs the signatures of ``witnesses_needed`` of them beside the index's.
    """
    threshold = 1 + witnesses_needed if witnesses else 1
    public: dict[str, SSlibKey] = {
        role: create_key_file(keys.path(role), Scheme.ED25519, passphrase)
        for role in (*OFFLINE_ROLES, *ONLINE_ROLES, LOG)
    }
    online = {role: [public[role], *(witness.marked(role) for witness in witnesses)] for role in ONLINE_ROLES}
    top_level = {ROOT: [public[ROOT]], TARGETS: [public[TARGETS]], **online}
    targets = plan_targets([public[BINS]], 1, 1, now + lifetimes.targets, online[BIN_PREFIX], threshold)
    log = identity_of_key(bytes.fromhex(public[LOG].keyval["public"]))
    name_log(targets, replace(log, witnesses=tuple(witness.log for witness in witnesses), threshold=threshold - 1))
    signed: dict[str, Root | Targets] = {
        ROOT: plan_root(top_level, {SNAPSHOT: threshold, TIMESTAMP: threshold}, 1, now + lifetimes.root),
        TARGETS: targets,
        BINS: plan_bins(online[BIN_PREFIX], threshold, bit_length, 1, now + lifetimes.bins),
    }
    return {role: sign_envelope(body, [load_key_file(keys.path(role), passphrase)]) for role, body in signed.items()}
