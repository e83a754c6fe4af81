"""OpenPGP and PEP 740 verification. Pure."""
