"""The forward proxy that stands between an installer and the network.

Invariants: it listens on loopback only, and only for who knows the run's credential; a covered index is answered from
verified data alone; no byte of a file is sent before the whole file was verified; whatever is not covered is refused
unless the policy allows the host; every refusal is recorded, so that an installer that swallows errors cannot hide it.
"""
