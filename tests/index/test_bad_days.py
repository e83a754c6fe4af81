"""Drills for bad days: a lost disk, an old backup, a damaged ledger, a clock that jumps."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from tuf.api.metadata import Metadata, Timestamp

from assay.index.admission import Admission
from assay.index.blobs import BlobStore
from assay.index.config import DataFolder, IndexConfig, TrustConfig
from assay.index.doctor import examine
from assay.index.ledger import Ledger, accounts
from assay.index.ledger.schema import files
from assay.index.provenance.desk import EvidenceDesk
from assay.index.published import PublishedStore
from assay.index.recovery.freeze import require_thawed
from assay.index.upkeep.backup import back_up, read_manifest
from assay.index.upkeep.confirm import Confirmed, Seen, confirm
from assay.index.upkeep.newledger import make_ledger_again
from assay.index.upkeep.refresh import refresh
from assay.index.upkeep.restore import bring_back
from assay.model.errors import AssayError, OperatorError, SignerRefused, VerificationFailed
from assay.trust.layout import Lifetimes, TargetPath
from index.ledger_index import LedgerIndex, inspect_here, wheel_name
from keys.live_index import Served
from support.simulator import AssayClient, StockClient

CONFIG = IndexConfig(trust=TrustConfig(bin_bits=2))


def path_of(version: str) -> TargetPath:
    return TargetPath(f"packages/demo/{version}/{wheel_name('demo', version)}")


def served(data: DataFolder, index: LedgerIndex) -> Served:
    files_there = {path.name: path.read_bytes() for path in (data.published / "tuf").iterdir()}
    return Served(now=index.now, files=files_there)


class Clients:
    """A returning client of Assay's and stock ngclient."""

    def __init__(self, index: LedgerIndex, folder: Path) -> None:
        root = (index.data.published / "tuf" / "1.root.json").read_bytes()
        self.all: list[AssayClient | StockClient] = [AssayClient(root), StockClient(root, folder)]

    def find(self, data: DataFolder, index: LedgerIndex, version: str) -> set[str | None]:
        return {client.look_up(served(data, index), path_of(version)) for client in self.all}


def bundle_of(data: DataFolder) -> Seen:
    stamp = (data.published / "tuf" / "timestamp.json").read_bytes()
    version = Metadata[Timestamp].from_bytes(stamp).signed.snapshot_meta.version
    return Seen(stamp, (data.published / "tuf" / f"{version}.snapshot.json").read_bytes())


def brought_back(index: LedgerIndex, backup: Path, folder: Path) -> DataFolder:
    data = DataFolder(folder)
    bring_back(backup, data)
    shutil.copytree(index.data.keys.root, data.keys.root, dirs_exist_ok=True)
    return data


def going_on(data: DataFolder, index: LedgerIndex) -> LedgerIndex:
    """The restored index, served again."""
    again = object.__new__(LedgerIndex)
    again.__dict__.update(index.__dict__)
    again.folder, again.data = data.root, data
    again.ledger, again.published = Ledger.open(data.ledger_file), PublishedStore(data.published)
    again.blobs = BlobStore(data.blobs)
    desk = EvidenceDesk(again.blobs, again.published)
    again.admission = Admission(again.ledger, again.blobs, inspect_here, lambda: again.now, desk, again.rules)
    again.publisher = again.new_publisher()
    again.sign()
    return again


@pytest.fixture
def index(tmp_path: Path) -> LedgerIndex:
    made = LedgerIndex(tmp_path / "index")
    made.publish("demo", "1.0", made.user("alice"))
    return made


def test_B13_a_lost_disk_costs_nothing_with_a_backup_and_a_mirror(index: LedgerIndex, tmp_path: Path) -> None:
    clients = Clients(index, tmp_path / "ng")
    first = back_up(index.data, tmp_path / "backup", index.now, with_keys=False)
    again = back_up(index.data, tmp_path / "backup", index.now, with_keys=False)
    assert (first.files > 5, again.files) == (True, 0)
    assert not list((tmp_path / "backup").rglob("*.pem"))
    index.publish("demo", "2.0", index.principal(index.token("alice")))
    mirror = tmp_path / "mirror"
    shutil.copytree(index.data.published, mirror)
    (want,) = clients.find(index.data, index, "2.0")
    data = brought_back(index, tmp_path / "backup", tmp_path / "new")
    with pytest.raises(OperatorError) as caught:
        require_thawed(data)
    assert caught.value.rule == "restored-unconfirmed"
    done = confirm(data, CONFIG, None, [PublishedStore(mirror)], [], index.now)
    assert (done.adopted, done.lost) == (True, 0)
    require_thawed(data)
    assert clients.find(data, index, "2.0") == {want}
    index.later(minutes=5)
    new = going_on(data, index)
    new.publish("demo", "3.0", new.principal(new.token("alice")))
    assert len(clients.find(data, index, "3.0")) == 1
    with new.ledger.read() as connection:
        assert set(connection.scalars(select(files.c.version))) == {"1.0", "2.0", "3.0"}


def test_B13_an_old_backup_never_signs_below_what_a_client_saw(index: LedgerIndex, tmp_path: Path) -> None:
    clients = Clients(index, tmp_path / "ng")
    back_up(index.data, tmp_path / "backup", index.now, with_keys=False)
    for version in ("2.0", "3.0"):
        index.publish("demo", version, index.principal(index.token("alice")))
    assert len(clients.find(index.data, index, "3.0")) == 1
    seen = bundle_of(index.data)
    data = brought_back(index, tmp_path / "backup", tmp_path / "new")
    for client in clients.all:
        with pytest.raises(Exception, match=r"older|rollback|version|New timestamp"):
            client.look_up(served(data, index), path_of("1.0"))
    done = confirm(data, CONFIG, None, [], [seen], index.now)
    assert (done.adopted, done.lost > 0) == (False, True)
    index.later(minutes=5)
    new = going_on(data, index)
    (found,) = clients.find(data, index, "1.0")
    assert found is not None
    assert clients.find(data, index, "3.0") == {None}
    new.publish("demo", "3.0", new.principal(new.token("alice")))
    (found,) = clients.find(data, index, "3.0")
    assert found is not None


def test_B13_nothing_newer_and_a_forged_number(index: LedgerIndex, tmp_path: Path) -> None:
    back_up(index.data, tmp_path / "backup", index.now, with_keys=True)
    data = DataFolder(tmp_path / "new")
    bring_back(tmp_path / "backup", data)
    assert (data.keys.root / "online" / "timestamp.pem").stat().st_mode & 0o077 == 0
    forged = bundle_of(index.data)
    stamp = Metadata[Timestamp].from_bytes(forged.timestamp)
    stamp.signed.version = 10**6
    with pytest.raises(VerificationFailed):
        confirm(data, CONFIG, None, [], [Seen(stamp.to_bytes(), forged.snapshot)], index.now)
    done = confirm(data, CONFIG, None, [], [forged], index.now)
    assert done == Confirmed(done.backup, done.backup, True, done.backup)
    require_thawed(data)
    with pytest.raises(OperatorError, match="something in this folder"):
        bring_back(tmp_path / "backup", data)


def test_a_backup_that_was_changed_or_interrupted_is_found(index: LedgerIndex, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    with pytest.raises(OperatorError, match="no whole backup"):
        bring_back(tmp_path, DataFolder(tmp_path / "none"))
    back_up(index.data, backup, index.now, with_keys=False)
    ledger = backup / read_manifest(backup).ledger
    ledger.write_bytes(ledger.read_bytes()[:-1] + b"x")
    with pytest.raises(VerificationFailed, match="ledger was changed"):
        bring_back(backup, DataFolder(tmp_path / "new"))
    back_up(index.data, backup, index.now, with_keys=False)
    page = next(path for path in (backup / "published" / "tuf").iterdir() if ".bin-" in path.name)
    page.unlink()
    with pytest.raises(AssayError):
        bring_back(backup, DataFolder(tmp_path / "another"))
    with pytest.raises(OperatorError, match="no backup"):
        back_up(index.data, index.data.root, index.now, with_keys=False)


def test_B16_neither_backup_nor_restore_follows_a_link_to_a_private_file(index: LedgerIndex, tmp_path: Path) -> None:
    backup, private = tmp_path / "backup", tmp_path / "private"
    private.write_bytes(b"a private key")
    (index.data.root / "inbox").mkdir(exist_ok=True)
    (index.data.root / "inbox" / "upload").symlink_to(private)
    back_up(index.data, backup, index.now, with_keys=False)
    (backup / "published" / "tuf" / "99.bin-00.json").symlink_to(private)
    bring_back(backup, DataFolder(tmp_path / "new"))
    copies = [path for folder in (backup, tmp_path / "new") for path in folder.rglob("*") if path.is_file()]
    assert copies
    assert [path for path in copies if not path.is_symlink() and path.read_bytes() == b"a private key"] == []
    assert not (tmp_path / "new" / "published" / "tuf" / "99.bin-00.json").exists()


@pytest.mark.parametrize("damage", ["gone", "garbage", "tampered"])
def test_B9_the_ledger_is_made_again_from_what_was_signed(index: LedgerIndex, damage: str) -> None:
    index.publish("demo", "2.0", index.principal(index.token("alice")))
    index.ledger.close()
    file = index.data.ledger_file
    if damage == "tampered":
        with index.ledger.write() as connection:
            connection.execute(update(files).values(sha256="0" * 64))
        index.ledger.close()
    else:
        for path in list(file.parent.iterdir()):
            path.unlink()
        if damage == "garbage":
            file.write_bytes(b"not a database, certainly" * 1000)
            sick = examine(index.data, index.now, Lifetimes(), hash_blobs=False)
            assert not sick.healthy
            assert any("restore" in (finding.next_step or "") for finding in sick.findings)
    rebuilt = make_ledger_again(index.data, index.now)
    assert rebuilt.projects == 1
    index.later(minutes=5)
    index.ledger = Ledger.open(file)
    with index.ledger.read() as connection:
        assert accounts.authenticate(connection, rebuilt.token, index.now).user == "admin"
    index.publisher = index.new_publisher()
    index.sign()
    assert examine(index.data, index.now, Lifetimes(), hash_blobs=True).healthy
    assert index.vouched("demo", "2.0")


def test_a_clock_that_went_back_signs_nothing_and_goes_on_when_it_is_right(index: LedgerIndex) -> None:
    before = (index.data.published / "tuf" / "timestamp.json").read_bytes()
    right = index.now
    index.now = right - timedelta(days=400)
    with pytest.raises(SignerRefused, match="clock is behind"):
        index.publish("demo", "2.0", index.principal(index.token("alice")))
    assert (index.data.published / "tuf" / "timestamp.json").read_bytes() == before
    index.now = right + timedelta(minutes=1)
    index.sign()
    assert index.vouched("demo", "2.0"), "what waited is published now"


def test_after_a_clock_that_ran_ahead_refresh_goes_on_from_the_right_time(index: LedgerIndex, tmp_path: Path) -> None:
    clients = Clients(index, tmp_path / "ng")
    right = index.now
    index.now = right + timedelta(days=20)
    index.publish("demo", "2.0", index.principal(index.token("alice")))
    index.now = right + timedelta(minutes=1)
    with pytest.raises(SignerRefused, match="clock is behind"):
        refresh(index.data, CONFIG, None, index.ledger, index.now, trust_clock=False)
    number = refresh(index.data, CONFIG, None, index.ledger, index.now, trust_clock=True)
    stamp = Metadata[Timestamp].from_bytes((index.data.published / "tuf" / "timestamp.json").read_bytes()).signed
    assert stamp.expires <= index.now + timedelta(days=1)
    assert refresh(index.data, CONFIG, None, index.ledger, index.now, trust_clock=False) == number + 1
    assert len(clients.find(index.data, index, "2.0")) == 1
