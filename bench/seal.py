"""``make bench-seal FILES=8000000``: one sealing ceremony of so many files, 200,000 if not said.

The real offline half: a draft on disk, a one-time key, every role signed and written, the second holder's comparison.
Then stock python-tuf looks files up in what was made. Needs about 1.5 GB of disk for each million files.
"""

import hashlib
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import Targets
from tuf.ngclient import FetcherInterface, Updater

from assay.keys.files import load_key_file
from assay.keys.local import KeyFolder, hold_local_ceremony
from assay.keys.offline_draft import OfflineDraft
from assay.keys.sealing import KIND, read_seal, sign_seal, write_list
from assay.model.digests import Sha256
from assay.trust.envelope import parse_envelope, sign_envelope
from assay.trust.layout import BINS, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Lifetimes, RoleLimits, TargetPath
from assay.trust.plan import Changes, plan_bin, plan_snapshot, plan_timestamp, succinct_roles
from assay.trust.seal import SealedFile

NOW = datetime.now(UTC).replace(microsecond=0)
LIVES = Lifetimes()
CUSTOM = {
    "origin": "upload",
    "uploader": "alice",
    "role": "owner",
    "granted_by": "admin",
    "granted_at": "2026-11-23T12:00:00.000000Z",
    "authenticated": "token:98850b89151c192f",
    "uploaded_at": "2026-11-23T12:00:00.000000Z",
}


def path_of(number: int) -> TargetPath:
    """A path as long as real ones are."""
    name, version = f"project-{number // 12}", f"1.{number % 12}"
    return TargetPath(f"packages/{name}/{version}/{name.replace('-', '_')}-{version}-py3-none-any.whl")


def files_of(count: int) -> Iterator[SealedFile]:
    """What an index would list."""
    for number in range(count):
        path = path_of(number)
        yield SealedFile(
            path, 123_456, Sha256(hashlib.sha256(path.encode()).hexdigest()), CUSTOM | {"log_index": number}
        )


class FromFolders(FetcherInterface):
    """What was made, served to python-tuf."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders

    def _fetch(self, url: str) -> Iterator[bytes]:
        for folder in self._folders:
            path = folder / url.rsplit("/", 1)[-1]
            if path.exists():
                yield path.read_bytes()
                return
        raise DownloadHTTPError("not found", 404)


def look_up(draft: OfflineDraft, keys: KeyFolder, roles: dict[str, bytes], folder: Path, count: int) -> int:
    """Let stock python-tuf find the first, a middle and the last file; returns how many roles the snapshot lists."""
    key = {role: load_key_file(keys.path(role), None) for role in (SNAPSHOT, TIMESTAMP, "bin")}
    served = folder / "served"
    served.mkdir()
    versions = {TARGETS: 2, BINS: 1}
    versions |= {path.name.split(".")[1]: 1 for path in (draft.folder / "signed").glob("1.seal-*.json")}
    bins = succinct_roles(parse_envelope(roles[BINS], Targets, BINS).signed)
    for name in bins.get_roles():
        (served / f"1.{name}.json").write_bytes(sign_envelope(plan_bin(None, Changes(), NOW, LIVES), [key["bin"]]))
        versions[name] = 1
    snapshot = sign_envelope(plan_snapshot(None, versions, NOW, LIVES), [key[SNAPSHOT]])
    (served / "1.snapshot.json").write_bytes(snapshot)
    stamp = plan_timestamp(None, snapshot, 1, NOW, LIVES)
    (served / "timestamp.json").write_bytes(sign_envelope(stamp, [key[TIMESTAMP]]))
    (served / "1.bins.json").write_bytes(roles[BINS])
    fetcher = FromFolders(served, draft.folder / "signed")
    updater = Updater(str(folder / "client"), "http://x/", str(folder), "http://x/", fetcher, bootstrap=roles[ROOT])
    for number in (0, count // 2, count - 1):
        found = updater.get_targetinfo(path_of(number))
        if found is None or found.hashes["sha256"] != hashlib.sha256(path_of(number).encode()).hexdigest():
            raise SystemExit(f"python-tuf does not find {path_of(number)}")
    return len(versions)


def main(count: int) -> None:
    """Hold the ceremony and print what it took."""
    with (
        tempfile.TemporaryDirectory(prefix="seal-") as name,
        Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bar,
    ):
        folder = Path(name)
        (folder / "client").mkdir()
        keys = KeyFolder(folder / "keys")
        roles = dict(hold_local_ceremony(keys, None, NOW, 4, LIVES))
        facts = {"number": 1, "merged": [], "files": count, "claimed_versions": {}}
        draft = OfflineDraft.create(folder / "draft", KIND, {role: roles[role] for role in (ROOT, TARGETS)}, facts, NOW)
        write_list(draft, files_of(count))
        task = bar.add_task("sealing", total=2 * count)
        started, cpu = time.monotonic(), time.process_time()
        sealed = sign_seal(draft, NOW, LIVES, lambda done, total: bar.update(task, completed=done, total=total))
        draft.sign(str(keys.path(TARGETS)), lambda _: "", sealed.bodies)
        took, cpu = time.monotonic() - started, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        sizes = sorted(path.stat().st_size for path in (draft.folder / "signed").iterdir())
        again = time.process_time()
        draft.sign(str(keys.path(TARGETS)), lambda _: "", read_seal(draft, NOW, LIVES).bodies)
        again = time.process_time() - again
        listed = look_up(draft, keys, roles, folder, count)
        limit = RoleLimits().targets
        if sizes[-1] > limit:
            raise SystemExit(f"a role has {sizes[-1]} bytes: stock clients read {limit}")
        print(f"{count} files in {sealed.roles} roles")
        print(f"sealed          in {took:.0f} s, {cpu:.0f} s of one core; at most {peak:.0f} MB of memory")
        print(f"second holder   {again:.0f} s of one core")
        print(
            f"roles           {sum(sizes) / 1e6:.0f} MB, the largest {sizes[-1] / 1e3:.0f} kB, of {limit / 1e3:.0f} kB"
        )
        print(f"python-tuf      finds the first, middle and last file; its snapshot lists {listed} roles")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
