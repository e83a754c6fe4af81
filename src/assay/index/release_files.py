"""What the ledger knows of the files that a new one joins: how large the project is, and what its release depends on.

Invariant: files of one release may depend on different things, but never silently (threat B19): the difference is in
the log, in the ``custom`` of the new file's target, and in the answer to the uploader.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select, update

from assay.index.ledger.schema import files
from assay.index.web.multipart import too_large_project
from assay.model.distributions import Distribution
from assay.model.names import ProjectName

MAX_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A new file depends on something else than ``other``, an earlier file of its release.

    ``added``: what only the new file depends on; ``missing``: what only the other does. ``MAX_SHOWN`` of each.
    """

    other: str
    added: tuple[str, ...]
    missing: tuple[str, ...]

    def facts(self) -> dict[str, object]:
        """As JSON, for events and targets."""
        return {"other": self.other, "added": list(self.added), "missing": list(self.missing)}

    def __str__(self) -> str:
        parts = (("also on", self.added), ("not on", self.missing))
        told = ", ".join(f"{word} {'; '.join(names)}" for word, names in parts if names)
        return f"it depends on something else than {self.other}: {told}"


def used_bytes(connection: Connection, project: ProjectName) -> int:
    """The size of the project's files that were not removed."""
    mine = (files.c.project == project, files.c.state.in_(("pending", "published")))
    return int(connection.scalar(select(func.coalesce(func.sum(files.c.size), 0)).where(*mine)) or 0)


def require_project_room(connection: Connection, project: ProjectName, size: int, max_bytes: int) -> None:
    """Raise TooLarge unless ``size`` bytes more fit into the project."""
    room = max_bytes - used_bytes(connection, project)
    if size > room:
        raise too_large_project(project, room)


def find_disagreement(
    connection: Connection, distribution: Distribution, dependencies: tuple[str, ...] | None
) -> Disagreement | None:
    """How ``dependencies`` differ from those of the release's other files; None where they agree or are not known."""
    release = (files.c.project == distribution.project, files.c.version == distribution.version)
    others = (files.c.filename != distribution.filename, files.c.state.in_(("pending", "published")))
    known = select(files.c.filename, files.c.dependencies).where(*release, *others, files.c.dependencies.is_not(None))
    for other, listed in connection.execute(known.order_by(files.c.upload_time, files.c.filename)):
        if dependencies is not None and set(listed) != set(dependencies):
            added, missing = set(dependencies) - set(listed), set(listed) - set(dependencies)
            return Disagreement(other, tuple(sorted(added)[:MAX_SHOWN]), tuple(sorted(missing)[:MAX_SHOWN]))
    return None


def record_dependencies(
    connection: Connection, distribution: Distribution, dependencies: tuple[str, ...] | None
) -> None:
    """Remember what a file that was just proposed depends on."""
    mine = (files.c.project == distribution.project, files.c.filename == distribution.filename)
    values = {"dependencies": list(dependencies) if dependencies is not None else None}
    connection.execute(update(files).where(*mine).values(**values))
