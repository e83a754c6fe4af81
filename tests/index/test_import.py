"""``assay upstream import``: a whole listing in one publication, and what an interruption leaves."""

import io
import json
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from assay.cli import cli
from assay.formats.pages import parse_page_json
from assay.index.config import DataFolder, load_config
from assay.index.doctor import examine
from assay.index.establish import establish
from assay.index.handover import read_published
from assay.index.ledger import Ledger
from assay.index.ledger.schema import projects
from assay.index.published import PublishedStore
from assay.index.signer.bulk import BulkPublication
from assay.index.signer.house import open_publisher
from assay.index.signer.online import Keyring
from assay.index.signer.pointers import pointer_list
from assay.index.signer.publish import Publisher
from assay.index.upstream.importing import ListingImport
from assay.model.names import ProjectName
from assay.trust.layout import Lifetimes, TargetPath, page_target
from assay.trust.plan import bin_bits_for

URL = "https://up.example/simple/"
NAMES = ("alpha", "beta", "gamma-delta")


def line(name: str, versions: int = 2) -> bytes:
    wheel = name.replace("-", "_")
    files = [
        {
            "filename": f"{wheel}-1.{number}-py3-none-any.whl",
            "url": f"https://files.example/{wheel}-1.{number}-py3-none-any.whl",
            "hashes": {"sha256": f"{number:064x}"},
            "size": 1000 + number,
            "upload-time": "2024-01-01T00:00:00.5Z",
        }
        for number in range(versions)
    ]
    return json.dumps({"name": name, "files": files}).encode() + b"\n"


LISTING = b"".join([line("alpha"), b"not json\n", line("beta", 300), line("gamma-delta"), line("alpha", 3)])


def run_import(folder: Path, listing: bytes, *options: str) -> dict[str, object]:
    file = folder.parent / "listing"
    file.write_bytes(listing)
    words = ["upstream", "import", str(file), "--url", URL, "--data", str(folder), "--insecure-dev-keys", "--json"]
    done = CliRunner().invoke(cli, [*words, *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, object] = json.loads(done.stdout)
    return found


def require_whole(data: DataFolder) -> None:
    """Everything of LISTING is published, found by a client, and nothing contradicts itself."""
    state = read_published(data)
    for name in NAMES:
        page = parse_page_json((data.published / page_target(ProjectName(name))).read_bytes())
        assert page == state.page(ProjectName(name))
        for file in page.files:
            target = state.target(TargetPath(file.url.removeprefix("../../")))
            assert target is not None
            assert (target.sha256, target.custom["origin"]) == (file.sha256, "upstream")
    examined = examine(data, datetime.now(UTC), Lifetimes(), hash_blobs=False)
    assert (examined.findings, examined.projects, examined.files) == ((), 3, 304)


def test_a_listing_becomes_pages_and_targets(tmp_path: Path) -> None:
    data = DataFolder(tmp_path / "index")
    imported = run_import(data.root, LISTING)
    assert (imported["projects"], imported["files"], imported["unusable_lines"]) == (3, 304, 2)
    require_whole(data)
    again = run_import(data.root, LISTING + line("omega"))
    assert (again["projects"], again["known_projects"]) == (1, 3)
    assert read_published(data).page(ProjectName("omega")) is not None


def test_the_number_of_bins_follows_from_the_listing(tmp_path: Path) -> None:
    assert [bin_bits_for(targets) for targets in (1, 100_000, 1_000_000, 8_700_000, 10**9)] == [8, 8, 11, 14, 15]
    data = DataFolder(tmp_path / "index")
    run_import(data.root, LISTING, "--files", "200000")
    assert read_published(data).succinct().bit_length == bin_bits_for(200_000)


class _Breaks(io.BytesIO):
    """A listing that cannot be read to its end."""

    def readline(self, size: int | None = -1, /) -> bytes:
        if self.tell() > len(LISTING) // 2:
            raise OSError("the disk is gone")
        return super().readline(size)


def opened(data: DataFolder, ledger: Ledger) -> Publisher:
    config = load_config(data.config_file)
    return open_publisher(data, config, Keyring(data.keys, None, config.keys.uris()), ledger)


def test_an_interrupted_import_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = DataFolder(tmp_path / "index")
    data.make()
    now = datetime.now(UTC)
    config = load_config(data.config_file)
    establish(data, replace(config, trust=replace(config.trust, bin_bits=4)), None, now)
    (data.root / "INSECURE-DEV-KEYS").touch()
    with closing(Ledger.open(data.ledger_file)) as ledger:
        work = ListingImport(ledger, PublishedStore(data.published), _Breaks(LISTING), URL, (), now)
        monkeypatch.setattr("assay.index.upstream.importing.PROJECTS_AT_ONCE", 1)
        with pytest.raises(OSError, match="gone"):
            opened(data, ledger).publish_in_bulk(now, data.root / ".import", work.add_all)
        with ledger.read() as connection:
            assert connection.scalars(select(projects.c.name)).all() == ["alpha", "beta"]
    with closing(Ledger.open(data.ledger_file)) as ledger:
        assert opened(data, ledger).number == 1
    run_import(data.root, LISTING)
    require_whole(data)


def test_pointers_that_were_not_set_are_set_at_the_next_start(tmp_path: Path) -> None:
    data = DataFolder(tmp_path / "index")
    run_import(data.root, line("warm-up"))
    now, store = datetime.now(UTC), PublishedStore(data.published)
    with closing(Ledger.open(data.ledger_file)) as ledger:
        work = ListingImport(ledger, store, io.BytesIO(LISTING), URL, (), now)

        def add_all(bulk: BulkPublication) -> None:
            work.add_all(bulk)
            kept.append(store.path(pointer_list(bulk.number)).read_bytes())

        kept: list[bytes] = []
        number = opened(data, ledger).publish_in_bulk(now, data.root / ".import", add_all)
        for name in NAMES[1:]:  # as if it had been killed after the first pointer
            store.path(page_target(ProjectName(name))).unlink()
        store.put({pointer_list(number): kept[0]})
    with closing(Ledger.open(data.ledger_file)) as ledger:
        opened(data, ledger)
    assert all(store.path(page_target(ProjectName(name))).exists() for name in NAMES)
    assert not store.path(pointer_list(number)).exists()


def test_an_index_that_runs_is_left_alone(tmp_path: Path) -> None:
    import fcntl

    data = DataFolder(tmp_path / "index")
    run_import(data.root, line("alpha"))
    with (data.socket.parent / "serve.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        file = tmp_path / "listing"
        words = ["upstream", "import", str(file), "--url", URL, "--data", str(data.root)]
        done = CliRunner().invoke(cli, words)
    assert done.exception is not None
    assert "served already" in str(done.exception)
