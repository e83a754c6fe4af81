"""The index's transparency log, read and verified from outside."""
