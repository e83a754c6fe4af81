"""Bundles: everything that a client would fetch to install from a lock file, in one folder, verified again offline.

A bundle is nothing but the index's answers by their addresses, so the machine behind the air gap verifies it with the
very code that verifies the index (docs/adr/0098).
"""
