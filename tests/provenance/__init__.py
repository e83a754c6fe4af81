"""Tests of OpenPGP and PEP 740 verification."""
