"""Provenance on the index: who signs for a project, what lies beside its files, checked by web and signer alike."""
