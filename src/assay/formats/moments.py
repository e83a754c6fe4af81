"""Moments as pages write them (PEP 700)."""

from datetime import UTC, datetime


def format_time(moment: datetime) -> str:
    """``moment`` as PEP 700 wants it, in UTC with microseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
