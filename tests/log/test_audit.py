"""A machine reads the log of a whole index: what it believes, what it proves, and what makes it refuse."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from assay.formats.pages import parse_page_json, render_page_json
from assay.index.ledger import accounts
from assay.index.proposals import Entomb, Remove, SetStatus
from assay.model.digests import sha256_of
from assay.model.errors import AssayError, NotFresh, VerificationFailed
from assay.model.names import ProjectName
from assay.trust.envelope import sign_envelope
from assay.trust.layout import TargetPath
from assay.trust.log.entry import LogEntry, decode_entry
from assay.trust.log.identity import FIELD
from assay.trust.log.tiles import ENTRIES, split_entries, tile_of
from assay.trust.plan import Changes, NewTarget, plan_bin, plan_snapshot, plan_timestamp
from client.small_distributions import build_wheel
from log.living import LIFETIMES, LivingIndex, Machine, hours
from log.worlds import log_of
from support.simulator import Simulator, StockClient


def entries(index: LivingIndex) -> list[LogEntry]:
    """The log as it lies in the published folder; small logs only."""
    size = int((index.log / "checkpoint").read_text().split("\n")[1])
    bundle = tile_of(ENTRIES, 0, size)
    return [decode_entry(data) for data in split_entries(bundle, (index.log / bundle.path).read_bytes())]


def kinds(index: LivingIndex) -> list[str]:
    return [entry.kind for entry in entries(index)]


def test_what_happened_is_in_the_log_in_its_order(index: LivingIndex, machine: Machine) -> None:
    index.upload(("demo", "1.0"))
    index.publish()
    index.now += hours(1)
    index.yank("demo", "1.0", "broken")
    index.publish()
    assert kinds(index) == ["user-created", "token-created", "project-created", "file-published", "file-yanked"]
    published = entries(index)[3]
    assert published.actor == "admin"
    assert published.project == "demo"
    assert published.facts["path"] == "packages/demo/1.0/demo-1.0-py3-none-any.whl"
    assert published.facts["custom"] == {"origin": "upload", "uploader": "admin"}
    assert entries(index)[4].facts == {"filename": "demo-1.0-py3-none-any.whl", "reason": "broken"}
    found = machine.audit()
    assert (found.entries, found.files, found.pages) == (5, 1, 1)


def test_an_event_without_a_publication_is_logged_by_itself(index: LivingIndex, machine: Machine) -> None:
    index.publish()
    before = machine.verify().checkpoint.head.size

    with index.ledger.write() as connection:
        accounts.create_user(connection, "mallory", "admin", index.now)
    index.publish()
    assert machine.verify().checkpoint.head.size == before + 1
    assert entries(index)[-1].facts == {"is_admin": False, "user": "mallory"}


class Served(Simulator):
    """What an index's folder serves, for the simulator's clients."""

    def __post_init__(self) -> None:
        """Nothing is made here."""


def test_stock_clients_read_metadata_that_speaks_of_the_log(index: LivingIndex, tmp_path: Path) -> None:
    (path,) = index.upload(("demo", "1.0"))
    index.publish()
    files = {file.name: file.read_bytes() for file in (index.data.published / "tuf").iterdir()}
    assert FIELD.encode() in files["timestamp.json"]
    assert FIELD.encode() in files["1.targets.json"]
    client = StockClient(index.root(), tmp_path / "stock")
    assert client.look_up(Served(index.now, files=files), path) == sha256_of(build(path))


def test_every_signed_file_names_its_entry_which_is_proved(index: LivingIndex, machine: Machine) -> None:
    paths = index.upload(*[(name, "1.0") for name in ("one", "two", "three")])
    index.publish()
    numbers = [machine.prove(path) for path in paths]
    logged = entries(index)
    assert [logged[number].facts["path"] for number in numbers] == paths


def test_a_log_that_grew_is_believed_again_and_again(index: LivingIndex, machine: Machine) -> None:
    sizes = []
    for number in range(4):
        index.upload(("demo", f"{number}.0"))
        index.publish()
        sizes.append(machine.verify().checkpoint.head.size)
        assert machine.verify().seen == machine.verify().checkpoint.head
    assert sizes == sorted(set(sizes))


def test_renewing_the_timestamp_adds_nothing(index: LivingIndex, machine: Machine) -> None:
    index.publish()
    before = machine.verify()
    index.now += hours(13)
    index.publish()
    after = machine.verify()
    assert after.checkpoint.head == before.checkpoint.head
    assert after.trusted.timestamp is not None
    assert before.trusted.timestamp is not None
    assert after.trusted.timestamp.version > before.trusted.timestamp.version


def test_hundreds_of_entries_over_several_tiles(index: LivingIndex, machine: Machine) -> None:
    for start in (0, 240, 500):
        index.upload(*[(f"project{start + number}", "1.0") for number in range(120)])
        index.publish()
        machine.verify()
    found = machine.audit()
    assert (found.entries, found.files, found.pages) == (2 + 3 * 240, 360, 360)
    assert not (index.log / "tile/0/000.p").exists(), "a partial tile whose full one is there"
    assert (index.log / "tile/0/002.p").exists()


def test_what_was_removed_quarantined_or_entombed_still_agrees(index: LivingIndex, machine: Machine) -> None:
    index.upload(*[(name, version) for name in ("kept", "held", "gone", "part") for version in ("1.0", "1.1")])
    index.publish()
    index.propose(Remove(ProjectName("part"), "part-1.0-py3-none-any.whl"))
    index.propose(SetStatus(ProjectName("held"), "quarantined", "malware"))
    index.propose(Entomb(ProjectName("gone")))
    index.publish()
    found = machine.audit()
    assert (found.files, found.pages) == (5, 4)
    assert kinds(index)[-3:] == ["file-removed", "project-status", "project-removed"]


# --- attacks --------------------------------------------------------------------------------------------------


def refusal_of(machine: Machine, what: str = "verify") -> AssayError:
    with pytest.raises(AssayError) as refusal:
        getattr(machine, what)()
    return refusal.value


def test_an_old_checkpoint_is_a_rollback(index: LivingIndex, machine: Machine) -> None:
    index.publish()
    old = (index.log / "checkpoint").read_bytes()
    index.upload(("demo", "1.0"))
    index.publish()
    machine.verify()
    (index.log / "checkpoint").unlink()
    (index.log / "checkpoint").write_bytes(old)
    error = refusal_of(machine)
    assert isinstance(error, NotFresh)
    assert error.rule == "log-rollback"


def test_a_new_machine_is_not_shown_an_old_log_either(index: LivingIndex, machine: Machine) -> None:
    index.publish()
    old = (index.log / "checkpoint").read_bytes()
    index.upload(("demo", "1.0"))
    index.publish()
    (index.log / "checkpoint").unlink()
    (index.log / "checkpoint").write_bytes(old)
    assert refusal_of(machine).rule == "log-rollback", "the signed timestamp knows the newer head"


def other_history(index: LivingIndex, folder: Path) -> LivingIndex:
    """An index with the same keys that signs another history: what who stole the host can do."""

    index.close()
    shutil.copytree(index.folder, folder)
    return LivingIndex(folder)


def test_the_checkpoint_of_another_key_is_refused(index: LivingIndex, machine: Machine) -> None:

    index.publish()
    (index.log / "checkpoint").unlink()
    (index.log / "checkpoint").write_bytes(log_of(500).checkpoint())
    assert refusal_of(machine).rule == "log-origin"


def forge_target(index: LivingIndex, path: str, data: bytes, custom: dict[str, object]) -> None:
    """Put a target into its bin with the stolen online keys, and publish it; the log is not told."""

    state, keys, now = index.signer._state, index.signer._keys, index.now + timedelta(seconds=1)
    name = state.succinct().get_role_for_target(path)
    target = NewTarget(TargetPath(path), len(data), sha256_of(data), custom)
    role = plan_bin(state.bin(name), Changes((target,)), now, LIFETIMES)
    snapshot = plan_snapshot(state.snapshot, {name: role.version}, now, LIFETIMES)
    signed = sign_envelope(snapshot, [keys.snapshot])
    timestamp = plan_timestamp(state.timestamp, signed, snapshot.version, now, LIFETIMES)
    assert state.timestamp is not None
    timestamp.unrecognized_fields[FIELD] = state.timestamp.unrecognized_fields[FIELD]
    index.published.write(
        {
            f"tuf/{role.version}.{name}.json": sign_envelope(role, [keys.bin]),
            f"tuf/{snapshot.version}.snapshot.json": signed,
            "tuf/timestamp.json": sign_envelope(timestamp, [keys.timestamp]),
        }
    )


EVIL = "packages/demo/2.0/demo-2.0-py3-none-any.whl"


@pytest.mark.parametrize("custom", [{}, {"log_index": 99}, {"log_index": "x"}, {"log_index": 0}, {"log_index": 3}])
def test_a_file_that_is_signed_but_not_logged_is_found(
    index: LivingIndex, machine: Machine, custom: dict[str, object]
) -> None:

    index.upload(("demo", "1.0"))
    index.publish()
    forge_target(index, EVIL, b"evil", custom)
    error = refusal_of(machine, "audit")
    assert (error.rule, error.subject) == ("log-agreement", EVIL)
    with pytest.raises(VerificationFailed):
        machine.prove(TargetPath(EVIL))


def test_a_file_that_was_replaced_after_it_was_logged_is_found(index: LivingIndex, machine: Machine) -> None:
    (path,) = index.upload(("demo", "1.0"))
    index.publish()
    number = machine.prove(path)
    state = index.signer._state
    published = state.bin(state.succinct().get_role_for_target(path))
    assert published is not None
    del published.targets[path]
    forge_target(index, path, b"evil", {"origin": "upload", "uploader": "admin", "log_index": number})
    error = refusal_of(machine, "audit")
    assert (error.rule, error.subject) == ("log-agreement", path)
    with pytest.raises(VerificationFailed, match="sha256"):
        machine.prove(path)


def test_another_uploader_than_was_logged_is_found(index: LivingIndex, machine: Machine) -> None:
    (path,) = index.upload(("demo", "1.0"))
    index.publish()
    number, wheel = machine.prove(path), build(path)
    forge_target(index, path, wheel, {"origin": "upload", "uploader": "somebody", "log_index": number})
    with pytest.raises(VerificationFailed, match="custom"):
        machine.prove(path)


def test_a_page_that_hides_a_file_is_found(index: LivingIndex, machine: Machine) -> None:

    index.upload(("demo", "1.0"), ("demo", "1.1"))
    index.publish()
    data = index.published.read("simple/demo/index.json")
    assert data is not None
    shorter = render_page_json(parse_page_json(data).without_file("demo-1.1-py3-none-any.whl"))
    index.published.write({f"simple/demo/{sha256_of(shorter)}.index.json": shorter})
    forge_target(index, "simple/demo/index.json", shorter, {})
    error = refusal_of(machine, "audit")
    assert (error.rule, error.subject, error.found) == ("log-agreement", "demo", "demo-1.1-py3-none-any.whl")


def test_a_yank_that_was_not_logged_is_found(index: LivingIndex, machine: Machine) -> None:

    index.upload(("demo", "1.0"))
    index.publish()
    data = index.published.read("simple/demo/index.json")
    assert data is not None
    page = parse_page_json(data)
    changed = render_page_json(page.with_files((page.files[0].yank("forced"),)))
    index.published.write({f"simple/demo/{sha256_of(changed)}.index.json": changed})
    forge_target(index, "simple/demo/index.json", changed, {})
    error = refusal_of(machine, "audit")
    assert (error.rule, error.subject) == ("log-agreement", "demo-1.0-py3-none-any.whl")


def test_entries_changed_in_place_are_found(index: LivingIndex, machine: Machine) -> None:
    (path,) = index.upload(("demo", "1.0"))
    index.publish()
    bundle = next((index.log / "tile/entries/000.p").iterdir())
    bundle.write_bytes(bundle.read_bytes().replace(b'"uploader":"admin"', b'"uploader":"nimda"'))
    assert refusal_of(machine, "audit").rule == "log-entries"
    with pytest.raises(VerificationFailed) as refusal:
        machine.prove(path)
    assert refusal.value.rule == "log-inclusion"


def test_a_log_that_is_withheld_is_no_reason_to_believe(index: LivingIndex, machine: Machine) -> None:
    index.upload(("demo", "1.0"))
    index.publish()
    for file in (index.log / "tile").rglob("*"):
        if file.is_file():
            file.unlink()
    assert refusal_of(machine, "audit").rule == "log-missing"


def build(path: str) -> bytes:

    _, name, version, _ = path.split("/")
    return build_wheel(name, version)
