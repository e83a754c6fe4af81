"""Go's own implementation (golang.org/x/mod/sumdb, from Debian) agrees with what we write and prove, and we with it."""

import base64
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from assay.model.errors import VerificationFailed
from assay.trust.log.checkpoint import LogIdentity, open_checkpoint
from assay.trust.log.note import parse_vkey
from assay.trust.log.tree import Hash
from log.worlds import IDENTITY, MemoryLog, entry

SOURCE = Path(__file__).parent / "gocheck" / "main.go"
LIBRARIES = "/usr/share/gocode"
SIZES = [1, 2, 3, 255, 256, 257, 700, 65_535, 65_536, 65_537, 66_000]


@pytest.fixture(scope="session")
def gocheck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go program, compiled against Debian's package golang-golang-x-mod-dev."""
    folder = tmp_path_factory.mktemp("go")
    program = folder / "gocheck"
    settings = {"GO111MODULE": "off", "GOPATH": LIBRARIES, "GOCACHE": str(folder / "cache"), "GOFLAGS": ""}
    subprocess.run(["go", "build", "-o", program, SOURCE], check=True, env=os.environ | settings)
    return program


def grown_to(size: int, step: int) -> MemoryLog:
    """A log that grew in steps, as one does that is published again and again."""
    log = MemoryLog()
    while log.edge.size < size:
        start = log.edge.size
        log.append(*map(entry, range(start, min(size, start + step))))
    return log


def served(log: MemoryLog, folder: Path) -> Path:
    files = log.files | {"checkpoint": log.checkpoint()}
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def base64s(hashes: Sequence[Hash]) -> list[str]:
    return [base64.b64encode(each).decode() for each in hashes]


def claims(log: MemoryLog, folder: Path) -> Path:
    """Proofs between the sizes of ``SIZES`` that the log has, for indexes at the seams of tiles."""
    sizes = [size for size in SIZES if size <= log.edge.size]
    inclusion = [
        {
            "index": index,
            "size": size,
            "root": base64s([log.root(size)])[0],
            "proof": base64s(log.prove_inclusion(index, size)),
        }
        for size in sizes
        for index in sorted({0, size // 2, size - 1, *(at for at in (255, 256, 65_535, 65_536) if at < size)})
    ]
    consistency = [
        {
            "old": old,
            "size": size,
            "old_root": base64s([log.root(old)])[0],
            "root": base64s([log.root(size)])[0],
            "proof": base64s(log.prove_consistency(old, size)),
        }
        for size in sizes
        for old in sizes
        if old <= size
    ]
    path = folder / "claims.json"
    path.write_text(json.dumps({"vkey": str(IDENTITY.key), "inclusion": inclusion, "consistency": consistency}))
    return path


def ask(gocheck: Path, folder: Path, claimed: Path) -> Mapping[str, Any]:
    answer = subprocess.run([gocheck, folder, claimed], check=False, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    found: Mapping[str, Any] = json.loads(answer.stdout)
    return found


@pytest.mark.parametrize(("size", "step"), [(1, 1), (255, 100), (256, 1), (700, 7), (66_000, 9_999)])
def test_go_reads_the_log_and_makes_the_same_proofs(gocheck: Path, tmp_path: Path, size: int, step: int) -> None:
    log = grown_to(size, step)
    answer = ask(gocheck, served(log, tmp_path / "log"), claims(log, tmp_path))
    assert answer["entries"] == size


def test_what_go_signs_is_verified_here(gocheck: Path, tmp_path: Path) -> None:
    log = grown_to(3, 1)
    answer = ask(gocheck, served(log, tmp_path / "log"), claims(log, tmp_path))
    key = parse_vkey(answer["vkey"])
    assert open_checkpoint(answer["note"].encode(), LogIdentity(key.name, key)).head.size == 3
    with pytest.raises(VerificationFailed):
        open_checkpoint(answer["note"].encode(), IDENTITY)


@pytest.mark.parametrize("path", ["checkpoint", "tile/0/000", "tile/1/000.p/2", "tile/entries/001"])
def test_go_refuses_what_was_changed(gocheck: Path, tmp_path: Path, path: str) -> None:
    log = grown_to(700, 50)
    folder = served(log, tmp_path / "log")
    data = bytearray((folder / path).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / path).write_bytes(data)
    answer = subprocess.run([gocheck, folder, claims(log, tmp_path)], check=False, capture_output=True, text=True)
    assert answer.returncode == 1
    assert answer.stderr
