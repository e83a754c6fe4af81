"""Assay: a Python package index that stays trustworthy after a break-in, and a client that verifies installs."""

__version__ = "0.1.0"
