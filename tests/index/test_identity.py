"""Through the real signer: an online key is replaced, a root identity is replaced; who follows, and who is told."""

from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import Root, Targets

from assay.index.identity import identity_root
from assay.index.published import TIMESTAMP_NAME
from assay.index.signer.online import Keyring
from assay.keys.ceremony.publishing import NEW_IDENTITY
from assay.keys.files import Scheme, create_key_file, load_key_file
from assay.keys.local import KeyFolder
from assay.keys.online import create_online_key
from assay.model.digests import sha256_of
from assay.model.errors import VerificationFailed
from assay.trust.envelope import parse_envelope, sign_envelope
from assay.trust.layout import (
    BIN_PREFIX,
    BINS,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    Lifetimes,
    metadata_path,
    page_target,
)
from assay.trust.plan import plan_bins, plan_root
from assay.trust.seal import with_delegations
from assay.trust.update import Answer, Fetch, Keep, Load, Request, drive, lookup, refresh
from assay.trust.verify import TrustedMetadata
from index.ledger_index import DEMO, LedgerIndex

LIFE = Lifetimes()


class Client:
    """A client of the published files that keeps what it verified."""

    def __init__(self, index: LedgerIndex, root: bytes) -> None:
        self._index = index
        self._kept = {ROOT: root}

    def sees_demo(self) -> bool:
        """Refresh and look the project's page up. Raises what the core raises."""
        trusted = TrustedMetadata(self._kept[ROOT], now=self._index.now)
        drive(refresh(trusted), self._answer)
        return drive(lookup(trusted, page_target(DEMO)), self._answer) is not None

    def _answer(self, request: Request) -> Answer:
        match request:
            case Load(role):
                return self._kept.get(role)
            case Keep(role, data):
                self._kept[role] = data
                return None
            case Fetch(role, version):
                return self._index.published.read(metadata_path(role, version))


def root_of(index: LedgerIndex, version: int) -> bytes:
    data = index.published.read(metadata_path(ROOT, version))
    assert data is not None
    return data


def hand_in(index: LedgerIndex, version: int, role: str, data: bytes) -> None:
    index.data.inbox.mkdir(exist_ok=True)
    (index.data.inbox / f"{version}.{role}.json").write_bytes(data)


def test_a_stolen_timestamp_key_is_replaced_and_every_client_follows(tmp_path: Path) -> None:
    index = LedgerIndex(tmp_path)
    index.publish("demo", "1.0", index.user("alice"))
    returning = Client(index, root_of(index, 1))
    assert returning.sees_demo()
    _, successor = create_online_key(index.data.keys, TIMESTAMP, None)
    root = parse_envelope(root_of(index, 1), Root, ROOT).signed
    root.revoke_key(root.roles[TIMESTAMP].keyids[0], TIMESTAMP)
    root.add_key(successor, TIMESTAMP)
    root.version = 2
    hand_in(index, 2, ROOT, sign_envelope(root, [load_key_file(index.data.keys.path(ROOT), None)]))
    index.now += timedelta(minutes=1)
    index.sign()
    assert returning.sees_demo()
    assert Client(index, root_of(index, 1)).sees_demo()
    keyring = Keyring(index.data.keys, None)
    keyring.promote(index.publisher.keys)
    assert not index.data.keys.path(TIMESTAMP).with_suffix(".next.pem").exists()
    index.publisher = index.new_publisher()
    index.publish("demo", "1.1", index.principal(index.token("alice")))
    assert returning.sees_demo()


def test_a_new_identity_is_followed_only_by_those_who_were_told(tmp_path: Path) -> None:
    index = LedgerIndex(tmp_path / "index")
    index.publish("demo", "1.0", index.user("alice"))
    returning = Client(index, root_of(index, 1))
    assert returning.sees_demo()
    new = KeyFolder(tmp_path / "new")
    offline = {role: create_key_file(new.path(role), Scheme.ED25519, None) for role in (ROOT, TARGETS, BINS)}
    online = {role: create_online_key(index.data.keys, role, None)[1] for role in (TIMESTAMP, SNAPSHOT, BIN_PREFIX)}
    keys = {
        ROOT: [offline[ROOT]],
        TARGETS: [offline[TARGETS]],
        SNAPSHOT: [online[SNAPSHOT]],
        TIMESTAMP: [online[TIMESTAMP]],
    }
    root = sign_envelope(plan_root(keys, {}, 2, index.now + LIFE.root), [load_key_file(new.path(ROOT), None)])
    old = index.published.read(metadata_path(TARGETS, 1))
    assert old is not None
    targets = parse_envelope(old, Targets, TARGETS).signed
    delegated = dict(targets.delegations.roles or {}) if targets.delegations else {}
    delegated[BINS].keyids = [offline[BINS].keyid]
    for role in delegated.values():
        if role.name != BINS:
            role.keyids = [online[BIN_PREFIX].keyid]
    renewed = with_delegations(
        targets,
        delegated,
        {offline[BINS].keyid: offline[BINS], online[BIN_PREFIX].keyid: online[BIN_PREFIX]},
        set(),
        index.now + LIFE.targets,
    )
    bins = plan_bins([online[BIN_PREFIX]], 1, 2, 2, index.now + LIFE.bins)
    hand_in(index, 2, TARGETS, sign_envelope(renewed, [load_key_file(new.path(TARGETS), None)]))
    hand_in(index, 2, BINS, sign_envelope(bins, [load_key_file(new.path(BINS), None)]))
    hand_in(index, 2, ROOT, root)
    before = index.published.read(TIMESTAMP_NAME)
    index.now += timedelta(minutes=1)
    index.sign()
    assert index.published.read(TIMESTAMP_NAME) == before, "a root that nobody vouches for was taken"
    (index.data.inbox / NEW_IDENTITY).write_text(f"{sha256_of(root)}\n")
    index.publisher = index.new_publisher()
    index.sign()
    with pytest.raises(VerificationFailed) as caught:
        returning.sees_demo()
    assert (caught.value.rule, caught.value.subject) == ("signature-threshold", ROOT)
    assert Client(index, root).sees_demo()
    assert identity_root(index.published) == root, "what the index announces from now on"
