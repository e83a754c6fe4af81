"""Does what the log says agree with what is signed? The log replayed to what it says is published, and the comparison.

Invariants checked over the whole history: one path has one hash, for ever, also after removal; nothing is vouched for
that no entry published; nothing that was published and not removed is missing; whoever vouches is who did then.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from assay.formats.manifest import MANIFEST
from assay.formats.pages import PageFile, ProjectPage
from assay.model.errors import VerificationFailed
from assay.model.statuses import ACTIVE
from assay.trust.layout import BIN_PREFIX, ROOT, SEAL_PREFIX, TARGETS, TargetPath
from assay.trust.log.entry import (
    FILE_PUBLISHED,
    FILE_REMOVED,
    FILE_RESTORED,
    FILE_UNYANKED,
    FILE_YANKED,
    MAX_CUSTOM_BYTES,
    MAX_PAGE_BYTES,
    PROJECT_REMOVED,
    PROJECT_STATUS,
    UNFIT,
    LogEntry,
    fitted_facts,
)
from assay.trust.log.identity import LOG_INDEX
from assay.trust.update import Steps, load_role
from assay.trust.verify import TrustedMetadata, VerifiedTarget

PACKAGES, PAGES = "packages/", "simple/"


@dataclass(frozen=True, slots=True)
class LoggedFile:
    """What the log says of a path: the number of the entry that published it, and its facts (docs/log.md)."""

    index: int
    sha256: str
    length: int
    custom: Mapping[str, Any]
    page: Mapping[str, Any]
    removed: bool = False


def logged_file(index: int, entry: LogEntry) -> tuple[TargetPath, LoggedFile]:
    """The path and the facts of the entry ``index``, which published or restored a file. Raises VerificationFailed."""
    facts = entry.facts
    try:
        path, sha256, length = facts["path"], facts["sha256"], facts["length"]
        custom, page = facts["custom"], facts["page"]
    except KeyError as error:
        raise _malformed(index, f"no {error}") from error
    known = isinstance(path, str) and isinstance(sha256, str) and isinstance(length, int)
    known = known and isinstance(custom, dict) and isinstance(page, dict)
    if entry.kind not in (FILE_PUBLISHED, FILE_RESTORED) or not known:
        raise _malformed(index, entry.kind)
    return TargetPath(path), LoggedFile(index, sha256, length, custom, page)


@dataclass(slots=True)
class LogReplay:
    """What is published according to the entries taken so far, by path; about 1 KB of memory for each file."""

    files: dict[TargetPath, LoggedFile] = field(default_factory=dict)
    projects: dict[str, set[TargetPath]] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)

    def take(self, index: int, entry: LogEntry) -> None:
        """Take the next entry. Raises VerificationFailed where it contradicts an earlier one."""
        if entry.kind in (FILE_PUBLISHED, FILE_RESTORED):
            self._publish(index, entry)
        elif entry.kind in (FILE_REMOVED, FILE_YANKED, FILE_UNYANKED):
            path, old = self._named(index, entry)
            self.files[path] = _after(old, entry)
        elif entry.kind == PROJECT_STATUS:
            self.statuses[entry.project or ""] = str(entry.facts.get("status"))
        elif entry.kind == PROJECT_REMOVED:
            self.statuses[entry.project or ""] = PROJECT_REMOVED
            for path in self.projects.get(entry.project or "", ()):
                self.files[path] = replace(self.files[path], removed=True)

    def _publish(self, index: int, entry: LogEntry) -> None:
        path, new = logged_file(index, entry)
        old = self.files.get(path)
        if old is not None and (old.sha256, old.length, old.removed) != (new.sha256, new.length, False):
            raise _second_hash(path, old, new)
        if entry.kind == FILE_RESTORED:
            if old is None:
                raise _never_published(index, entry, path)
            new = replace(new, page=old.page)
        self.files[path] = new
        self.projects.setdefault(_project_of(path), set()).add(path)

    def _named(self, index: int, entry: LogEntry) -> tuple[TargetPath, LoggedFile]:
        """The published file that an entry names by project and filename."""
        filename = entry.facts.get("filename")
        for path in self.projects.get(entry.project or "", ()):
            if path.rpartition("/")[2] == filename:
                return path, self.files[path]
        raise _never_published(index, entry, str(filename))

    def of_project(self, project: str) -> dict[TargetPath, LoggedFile]:
        """Every file that was ever published for ``project``."""
        return {path: self.files[path] for path in self.projects.get(project, ())}

    def live(self) -> set[TargetPath]:
        """What is published and not removed."""
        return {path for path, file in self.files.items() if not file.removed}

    def require_page(self, page: ProjectPage) -> None:
        """Raise VerificationFailed unless a signed page shows its project and every file of it as they were logged."""
        logged = {path.rpartition("/")[2]: file for path, file in self.of_project(page.project).items()}
        removed = {filename: file.sha256 for filename, file in logged.items() if file.removed}
        live = {filename: file for filename, file in logged.items() if not file.removed}
        shown = {file.filename: file for file in (*page.files, *page.withheld)}
        _require_same_names(page, "a file", set(shown), set(live))
        _require_same_names(page, "a removed file", {file.filename for file in page.removed}, set(removed))
        for filename, file in shown.items():
            _require_shown(page, file, live[filename])
        status = self.statuses.get(page.project, ACTIVE)
        found = PROJECT_REMOVED if page.tombstone else page.status
        if status != found:
            raise _disagree("the signed page shows another status than was logged", page.project, status, found)


def _after(file: LoggedFile, entry: LogEntry) -> LoggedFile:
    if entry.kind == FILE_REMOVED:
        return replace(file, removed=True)
    page = {name: value for name, value in file.page.items() if name != "yanked"}
    if entry.kind == FILE_YANKED:
        page["yanked"] = entry.facts.get("reason", entry.facts.get(UNFIT))
    return replace(file, page=page)


def require_logged(target: VerifiedTarget, logged: LoggedFile | None) -> None:
    """Raise VerificationFailed unless ``target`` is what its entry in the log says, and names that entry.

    What a project's developers sign cannot name its entry, wherever it is sealed later: of such a file only path, hash
    and length are compared. What the index itself signs must name it.
    """
    if logged is None or logged.removed:
        raise _disagree("signed, but not in the log", target.path, "an entry that published it", f"role {target.role}")
    pairs: list[tuple[str, object, object]] = [
        ("sha256", logged.sha256, target.sha256),
        ("length", logged.length, target.length),
    ]
    if LOG_INDEX in target.custom or target.role.startswith(f"{BIN_PREFIX}-"):
        custom = {name: value for name, value in target.custom.items() if name != LOG_INDEX}
        pairs.append((LOG_INDEX, logged.index, target.custom.get(LOG_INDEX)))
        pairs.append(("custom", logged.custom, fitted_facts(custom, MAX_CUSTOM_BYTES)))
    for name, expected, found in pairs:
        if expected != found:
            raise _disagree(f"signed with another {name} than was logged", target.path, str(expected), str(found))


def _require_same_names(page: ProjectPage, what: str, shown: set[str], logged: set[str]) -> None:
    for filename in sorted(shown ^ logged):
        where = "shown, but not logged" if filename in shown else "logged, but not shown"
        raise _disagree(f"the signed page differs from the log: {what} is {where}", page.project, "the same", filename)


def _require_shown(page: ProjectPage, file: PageFile, logged: LoggedFile) -> None:
    facts = {"core_metadata": file.core_metadata, "requires_python": file.requires_python, "yanked": file.yanked}
    shown = fitted_facts({name: value for name, value in facts.items() if value is not None}, MAX_PAGE_BYTES)
    wanted = (logged.sha256, logged.length, logged.page)
    found = (file.sha256, file.size, shown)
    if wanted != found:
        raise _disagree(
            f"the signed page of {page.project} differs from the log", file.filename, str(wanted), str(found)
        )


def walk_targets(trusted: TrustedMetadata) -> Steps[list[str]]:
    """Load every role that is delegated, from ``targets`` down; returns their names, each once."""
    pending: list[tuple[str, str]] = [(TARGETS, ROOT)]
    found: dict[str, None] = {}
    while pending:
        role, delegator = pending.pop()
        yield from load_role(trusted, role, delegator)
        if role in found:
            continue
        found[role] = None
        delegations = trusted.require(role).delegations
        if delegations is not None:
            names = delegations.roles or {}
            children = names if delegations.succinct_roles is None else delegations.succinct_roles.get_roles()
            pending.extend((child, role) for child in children)
    return list(found)


def is_manifest(target: VerifiedTarget) -> bool:
    """Whether a target is a sealed release's manifest: signed offline, and not the log's to publish."""
    return target.path.endswith(f"/{MANIFEST}") and target.role.startswith(SEAL_PREFIX)


def _project_of(path: TargetPath) -> str:
    return path.removeprefix(PACKAGES).partition("/")[0]


def _never_published(index: int, entry: LogEntry, name: str) -> VerificationFailed:
    return VerificationFailed(
        "the log speaks of a file that it never published",
        subject=f"log entry {index}",
        rule="log-agreement",
        found=f"{entry.kind} of {name!r}",
    )


def _second_hash(path: TargetPath, old: LoggedFile, new: LoggedFile) -> VerificationFailed:
    return VerificationFailed(
        "the log itself shows that a path was published with other bytes, or again after it was removed",
        subject=path,
        rule="second-hash",
        expected="nothing, it was removed" if old.removed else f"sha256 {old.sha256} (entry {old.index})",
        found=f"sha256 {new.sha256} (entry {new.index})",
        next_step="do not install it; keep the log's checkpoint: the index signed both",
    )


def _disagree(what: str, subject: str, expected: str, found: str) -> VerificationFailed:
    return VerificationFailed(
        what,
        subject=subject,
        rule="log-agreement",
        expected=expected,
        found=found,
        next_step="do not install from this index until its operator explains it",
    )


def _malformed(index: int, found: str) -> VerificationFailed:
    return VerificationFailed(
        "an entry of the log does not say what it should",
        subject=f"log entry {index}",
        rule="malformed",
        expected="path, sha256, length, custom and page",
        found=found,
    )
