"""Pull-through of another index: what is seen first is recorded, signed, and never changed by the upstream again."""

from assay.index.upstream.pull import PullThrough

__all__ = ["PullThrough"]
