"""Trusted publishing: an identity token of somebody's CI for a short-lived upload token (PEP 807)."""
