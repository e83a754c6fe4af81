"""An organisation's own attestation authority on disk: its ceremony, its online keys, its log. No network."""
