"""Taking over an upstream's whole listing at once, before anybody asks for its projects. The index must not run.

The listing is PEP 691 JSON, one project page a line. What is recorded is what pull-through would record; projects that
the index knows, private names and names that are none are left alone. Bytes are fetched when somebody asks for them.
"""

import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, BinaryIO, Final

import orjson
from sqlalchemy import Connection, delete, insert, select

from assay.formats.pages import format_time
from assay.index.ledger import Ledger, accounts
from assay.index.ledger.publications import file_values
from assay.index.ledger.schema import files as files_table
from assay.index.ledger.schema import projects as projects_table
from assay.index.proposals import ProposedFile
from assay.index.published import PublishedStore
from assay.index.signer.bulk import BulkPublication
from assay.index.upstream.listing import UpstreamPage, read_upstream_page
from assay.index.upstream.pull import ACTOR
from assay.model.errors import AssayError
from assay.model.names import ProjectName, confusable_skeleton, parse_project_name
from assay.trust.layout import page_target

MAX_LINE_BYTES: Final = 64_000_000
PROJECTS_AT_ONCE: Final = 500
IMPORTED: Final = 0
"""The proposal that imported files name: there is none in the outbox."""


@dataclass(slots=True)
class Imported:
    """How many projects and files were taken over, and what was left out: known projects, unusable files and lines."""

    projects: int = 0
    files: int = 0
    known_projects: int = 0
    unusable_files: int = 0
    unusable_lines: int = 0


@dataclass(slots=True)
class ListingImport:
    """The import of ``listing``, whose pages stand below ``url``. ``private``: globs of names that stay unused."""

    ledger: Ledger
    published: PublishedStore
    listing: BinaryIO
    url: str
    private: Sequence[str]
    now: datetime
    imported: Imported = field(default_factory=Imported)

    def add_all(self, bulk: BulkPublication) -> None:
        """Record everything in the ledger and add it to ``bulk``."""
        rest = self._pages()
        while pages := list(islice(rest, PROJECTS_AT_ONCE)):
            with self.ledger.write() as connection:
                chosen = self._unpublished(connection, pages)
                self._record(connection, chosen)
            for project, files in chosen:
                bulk.add(project, files)
                self.imported.projects += 1
                self.imported.files += len(files)

    def _pages(self) -> Iterator[tuple[ProjectName, UpstreamPage]]:
        seen: set[ProjectName] = set()
        while line := self.listing.readline(MAX_LINE_BYTES):
            try:
                document = orjson.loads(line)
                project = parse_project_name(document["name"])
                if project in seen:
                    raise ValueError("twice in the listing")
                page = read_upstream_page(document, project, f"{self.url}{project}/", self.now)
            except (ValueError, KeyError, TypeError, AssayError):
                self.imported.unusable_lines += 1
                continue
            seen.add(project)
            self.imported.unusable_files += len(page.left_out)
            if any(fnmatch.fnmatchcase(project, glob) for glob in self.private):
                self.imported.known_projects += 1
            else:
                yield project, page

    def _unpublished(
        self, connection: Connection, pages: Sequence[tuple[ProjectName, UpstreamPage]]
    ) -> list[tuple[ProjectName, list[ProposedFile]]]:
        """The projects that are new. An import that was interrupted left rows of projects that nobody can see."""
        names = [project for project, _ in pages]
        table = projects_table.c
        where = table.name.in_(names)
        known = {row.name: row.origin for row in connection.execute(select(table.name, table.origin).where(where))}
        custom: dict[str, Any] = {"origin": ACTOR, "first_seen": format_time(self.now)}
        chosen = []
        for project, page in pages:
            if project in known and (known[project] != ACTOR or self._is_published(project)):
                self.imported.known_projects += 1
                continue
            if project in known:
                connection.execute(delete(files_table).where(files_table.c.project == project))
                connection.execute(delete(projects_table).where(table.name == project))
            chosen.append((project, [ProposedFile(file.distribution, file.entry, custom) for file in page.files]))
        return chosen

    def _is_published(self, project: ProjectName) -> bool:
        return self.published.path(page_target(project)).exists()

    def _record(self, connection: Connection, chosen: Iterable[tuple[ProjectName, list[ProposedFile]]]) -> None:
        rows = [
            {
                "name": project,
                "skeleton": confusable_skeleton(project),
                "origin": ACTOR,
                "private": False,
                "created": self.now,
                "created_by": ACTOR,
            }
            for project, _ in chosen
        ]
        if rows:
            connection.execute(insert(projects_table), rows)
        values = [file_values(project, file, IMPORTED, "published") for project, files in chosen for file in files]
        if values:
            connection.execute(insert(files_table), values)


def record_import(ledger: Ledger, imported: Imported, url: str, now: datetime) -> None:
    """Note the import as an event, which the next publication logs."""
    with ledger.write() as connection:
        counts = {"projects": imported.projects, "files": imported.files}
        accounts.record_event(connection, "upstream-imported", ACTOR, now, None, upstream=url, **counts)
