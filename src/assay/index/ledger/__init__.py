"""The ledger: who, what, when, as committed facts. The signer reads proposals here and believes nothing else."""

from assay.index.ledger.engine import Ledger

__all__ = ["Ledger"]
