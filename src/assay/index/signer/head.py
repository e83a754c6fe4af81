"""Showing readers the publication that counts: the last step of every publication, and the first of every start."""

from tuf.api.metadata import Root

from assay.index.ledger.publications import Head
from assay.index.log import LogWriter
from assay.index.published import TIMESTAMP_NAME, PublishedStore
from assay.index.signer.pointers import set_pointers
from assay.model.names import ProjectName
from assay.trust.envelope import parse_envelope
from assay.trust.layout import ROOT, hashed_path, metadata_path, page_target


def show_head(published: PublishedStore, log: LogWriter, head: Head) -> None:
    """Show what ``head`` brings: root, checkpoint, ``timestamp.json``, then the page pointers. Idempotent.

    The pointers come last so that no page is shown which the served timestamp does not vouch for yet. Root and
    timestamp are renamed one right after the other: who comes between the two is refused, and right the next time.
    """
    if head.timestamp is None:
        return
    roots = {}
    if head.root is not None:
        roots = {metadata_path(ROOT, parse_envelope(head.root, Root, ROOT).signed.version): head.root}
    published.write({**roots, **log.shown(head.publication, head.timestamp), TIMESTAMP_NAME: head.timestamp})
    for project, sha256 in head.pages.items():
        path = page_target(ProjectName(project))
        published.point(path, hashed_path(path, sha256))
    set_pointers(published, head.publication)
