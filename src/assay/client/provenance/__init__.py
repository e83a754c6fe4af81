"""Signatures and attestations at install: what the user's policy asks, and the check of every file."""
