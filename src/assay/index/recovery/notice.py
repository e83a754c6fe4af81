"""The notice of a recovery: what an operator tells everybody, in words. Pure."""

from datetime import datetime

from assay.index.recovery.recover import Recovered
from assay.index.recovery.restore import ADDED, CHANGED, REMOVED


def render_notice(done: Recovered, now: datetime) -> str:
    """The text, to be put where people look that is not the index."""
    then = f"{done.made:%Y-%m-%d %H:%M} UTC"
    return (
        "NOTICE OF A BREAK-IN AND OF ITS END\n\n"
        f"Between {then} and {now:%Y-%m-%d %H:%M} UTC somebody else may have signed for this index.\n"
        f"What was published until {then} (publication {done.good}) is back, byte for byte.\n\n"
        f"since then added, and gone now:      {done.counts.get(ADDED, 0)}\n"
        f"since then changed, as before now:   {done.counts.get(CHANGED, 0)}\n"
        f"since then removed, back now:        {done.counts.get(REMOVED, 0)}\n"
        f"uploads that were not published yet: {done.proposals}\n\n"
        "If you INSTALL from here: you need not do anything; clients follow the new keys by themselves. Whether what\n"
        "you installed in that time is what is vouched for now, `assay audit` tells. Reinstall what is not.\n\n"
        "If you UPLOAD here: all tokens were revoked, make new ones. Upload again what you uploaded in that time.\n\n"
        "If you ship a floor (`assay trust export`): export it again after the new keys are published.\n"
    )
