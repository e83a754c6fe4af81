"""The transparency log: an append-only Merkle tree over every event, as tiles, notes and proofs. Pure.

Formats: RFC 6962 section 2 (hashes), C2SP tlog-tiles (files), C2SP signed-note and tlog-checkpoint (heads), C2SP
tlog-cosignature (witnesses). Decisions: docs/adr/0040-log.md.
"""
