"""Moments on a page: they only grow, so that what came before a change of signers can be told from what came after."""

from datetime import datetime, timedelta

from assay.formats.pages import ProjectPage


def page_moment(page: ProjectPage, now: datetime) -> datetime:
    """``now``, or just after the latest moment that the page names: intents have whole seconds, uploads have not."""
    moments = [file.upload_time for file in (*page.files, *page.withheld)]
    for file in page.files:
        moments += [beside.since for beside in (file.signature, file.provenance) if beside is not None]
    signers = page.signers
    terms = [*(each.term for each in signers.certificates), *(each.term for each in signers.publishers)]
    moments += [moment for term in terms for moment in (term.since, term.until) if moment is not None]
    if not moments or max(moments) < now:
        return now
    return max(moments) + timedelta(microseconds=1)
