"""An index and a dictionary: whatever is done to both, in any order and with crashes between, they stay equal.

``ASSAY_EXAMPLES=500 pytest tests/faults/test_state_machine.py`` tries longer. A failure prints its steps.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tuf.api.metadata import Root

from assay import durable
from assay.index import states
from assay.index.handover import hand_over
from assay.index.published import PublishedStore
from assay.index.sealing import plan_sealing
from assay.index.signer.state import newest_root
from assay.keys.files import load_key_file
from assay.keys.offline_draft import OfflineDraft
from assay.keys.online import create_online_key
from assay.keys.sealing import sign_seal
from assay.model.digests import sha256_of
from assay.model.errors import CallerError
from assay.model.names import ProjectName
from assay.trust.envelope import parse_envelope, sign_envelope
from assay.trust.layout import ROOT, TARGETS, TIMESTAMP, Lifetimes, metadata_filename
from e2e.test_signer_faults import MODES, Died, Fuse, Mode, MortalLedger, MortalStore
from faults.host import Host, target_of
from faults.oracle import Acknowledged, Oracle
from faults.readers import read_folder
from index.ledger_index import START, build_wheel, wheel_name

PROJECTS = st.sampled_from([ProjectName("red"), ProjectName("blue")])
VERSIONS = st.sampled_from(["1.0", "1.1", "2.0"])
STATUSES = st.sampled_from(["active", "archived", "quarantined", "deprecated"])


@dataclass
class File:
    yanked: bool = False
    removed: bool = False


class IndexAndDictionary(RuleBasedStateMachine):
    """``files`` by project and version; ``statuses`` by project: what the index must show."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="assay-machine-"))
        self.files: dict[tuple[ProjectName, str], File] = {}
        self.statuses: dict[ProjectName, str] = {}
        self.host = Host(self.folder / "index", START)
        self.token = self.host.token("alice")
        self.oracle = Oracle(newest_root(self.host.published))
        self.drafts = 0

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        try:
            self._restart()
            paths: dict[str, str] = {target_of(wheel_name(*key)): sha256_of(build_wheel(*key)) for key in self.files}
            standing = {path: sha256 for path, sha256 in paths.items() if path not in self.oracle.leaving}
            assert self.oracle.judge(self.host, Acknowledged(standing), {}) == []
        finally:
            self.host.ledger.close()
            shutil.rmtree(self.folder)

    # --- what is done to both ---------------------------------------------------------------------------------

    @rule(project=PROJECTS, version=VERSIONS)
    def upload(self, project: ProjectName, version: str) -> None:
        self._upload(project, version, self.host.sign)

    @rule(project=PROJECTS, version=VERSIONS, write=st.integers(1, 8), mode=st.sampled_from(MODES))
    def upload_and_crash(self, project: ProjectName, version: str, write: int, mode: Mode) -> None:
        self._upload(project, version, lambda: self._crash(write, mode))

    def _upload(self, project: ProjectName, version: str, sign: Callable[[], None]) -> None:
        name = wheel_name(project, version)
        known = self.files.get((project, version))
        status = self.statuses.get(project, "active")
        try:
            self.host.admit(build_wheel(project, version), name, self.host.principal(self.token))
        except CallerError:
            assert status in ("archived", "quarantined") or (known is not None and known.removed)
            return
        assert status not in ("archived", "quarantined")
        assert known is None or not known.removed
        sign()
        self.files.setdefault((project, version), File())

    @precondition(lambda self: self._standing())
    @rule(data=st.data(), reason=st.sampled_from(["", "broken", None]))
    def yank(self, data: st.DataObject, reason: str | None) -> None:
        project, version = data.draw(st.sampled_from(self._standing()))
        with self.host.write() as connection:
            states.yank(connection, project, version, reason, "boss", self.host.now)
        self.host.sign()
        self.files[project, version].yanked = reason is not None

    @precondition(lambda self: self._standing())
    @rule(data=st.data(), write=st.integers(0, 8), mode=st.sampled_from(MODES))
    def remove(self, data: st.DataObject, write: int, mode: Mode) -> None:
        project, version = data.draw(st.sampled_from(self._standing()))
        self.oracle.leaving.add(target_of(wheel_name(project, version)))
        with self.host.write() as connection:
            states.remove_files(connection, project, version, "leaked", "boss", self.host.now)
        self._crash(write, mode)
        self.files[project, version].removed = True

    @precondition(lambda self: self.files)
    @rule(data=st.data(), status=STATUSES)
    def set_status(self, data: st.DataObject, status: str) -> None:
        project = data.draw(st.sampled_from(sorted({project for project, _ in self.files})))
        with self.host.write() as connection:
            states.set_status(connection, project, status, None, "boss", self.host.now)  # type: ignore[arg-type]
        self.host.sign()
        self.statuses[project] = status

    # --- what is done to the index alone ----------------------------------------------------------------------

    @rule(write=st.integers(0, 8), mode=st.sampled_from(MODES))
    def seal(self, write: int, mode: Mode) -> None:
        self.drafts += 1
        draft = OfflineDraft(self.folder / f"draft-{self.drafts}")
        try:
            plan_sealing(self.host.data, draft.folder, self.host.now)
        except CallerError:
            return
        sealed = sign_seal(draft, self.host.now, Lifetimes())
        draft.sign(str(self.host.data.keys.path(TARGETS)), lambda _: "", sealed.bodies)
        hand_over(draft, self.host.data, self.host.now)
        self._crash(write, mode)

    @rule(write=st.integers(0, 8), mode=st.sampled_from(MODES))
    def rotate(self, write: int, mode: Mode) -> None:
        _, successor = create_online_key(self.host.data.keys, TIMESTAMP, None)
        root = parse_envelope(newest_root(self.host.published), Root, ROOT).signed
        root.revoke_key(root.roles[TIMESTAMP].keyids[0], TIMESTAMP)
        root.add_key(successor, TIMESTAMP)
        root.version += 1
        signed = sign_envelope(root, [load_key_file(self.host.data.keys.path(ROOT), None)])
        durable.write_file(self.host.data.inbox / metadata_filename(ROOT, root.version), signed)
        self._crash(write, mode)
        self._restart()

    @rule(hours=st.integers(1, 60))
    def wait(self, hours: int) -> None:
        self.host.later(hours=hours)
        self.host.sign()

    @rule()
    def restart(self) -> None:
        self._restart()

    # --- how --------------------------------------------------------------------------------------------------

    def _standing(self) -> list[tuple[ProjectName, str]]:
        return [key for key, file in self.files.items() if not file.removed]

    def _crash(self, write: int, mode: Mode) -> None:
        """Let a signer run that dies at its write number ``write`` (0: never); then the ordinary start."""
        host, fuse = self.host, Fuse(write, mode)
        mortal = MortalLedger.open(host.data.ledger_file)
        assert isinstance(mortal, MortalLedger)
        mortal.fuse = fuse
        whole = host.ledger, host.published
        host.ledger, host.published = mortal, MortalStore(host.data.published, fuse)
        died = False
        try:
            host.publisher = host.new_publisher()
            host.sign()
        except Died:
            died = True
        finally:
            mortal.close()
            host.ledger, host.published = whole
        assert self.oracle.watch(read_folder(host.data)) == []
        assert self.oracle.remember(host.data.published) == []
        if died:
            self._restart()
        else:
            host.publisher = host.new_publisher()

    def _restart(self) -> None:
        self.host.ledger.close()
        self.host = Host(self.folder / "index", self.host.now + timedelta(seconds=1))
        assert isinstance(self.host.published, PublishedStore)

    # --- what must hold ---------------------------------------------------------------------------------------

    @invariant()
    def they_are_equal(self) -> None:
        if not hasattr(self, "folder"):
            return
        assert self.oracle.watch(read_folder(self.host.data)) == []
        for project in {project for project, _ in self.files}:
            page = self.host.page(project)
            assert page.status == self.statuses.get(project, "active")
            entries = page.withheld if page.status == "quarantined" else page.files
            assert {entry.filename: entry.yanked is not None for entry in entries} == {
                wheel_name(project, version): file.yanked
                for (name, version), file in self.files.items()
                if name == project and not file.removed
            }
            assert {entry.filename for entry in page.removed} == {
                wheel_name(project, version)
                for (name, version), file in self.files.items()
                if name == project and file.removed
            }


IndexAndDictionary.TestCase.settings = settings(
    max_examples=int(os.environ.get("ASSAY_EXAMPLES") or 8),
    stateful_step_count=10,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
TestIndexAndDictionary = IndexAndDictionary.TestCase
pytestmark = pytest.mark.timeout(600)
