"""Installed environments against verified wheels. Nothing of the audited environment is imported or run."""
