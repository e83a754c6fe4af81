"""The index's side of the transparency log."""

from assay.index.log.writer import LogDraft, LogWriter, log_after, no_log_key

__all__ = ["LogDraft", "LogWriter", "log_after", "no_log_key"]
