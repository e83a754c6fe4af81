"""How much one upload may cost: every bound that the archive readers keep, in one place.

The bounds are declared here and kept while streaming, so that no archive makes its reader hold more than a few of
them in memory: the ZIP directory, RECORD, and one chunk of a member.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InspectionLimits:
    """Bounds of one inspection. Every ``..._bytes`` is inclusive: a member of exactly that size passes.

    ``max_ratio``: expanded size by archive size, over the whole archive; looked at only beyond ``ratio_free_bytes``
    (single data files legitimately shrink 200-fold). ``max_directory_bytes``: the ZIP central directory.
    ``max_metadata_bytes``: each of METADATA, PKG-INFO, WHEEL and entry_points.txt. ``max_path_bytes``: a member's name.
    """

    max_members: int = 60_000
    max_expanded_bytes: int = 4_000_000_000
    max_ratio: int = 50
    ratio_free_bytes: int = 64 * 1024 * 1024
    max_directory_bytes: int = 16 * 1024 * 1024
    max_metadata_bytes: int = 4 * 1024 * 1024
    max_record_bytes: int = 16 * 1024 * 1024
    max_path_bytes: int = 1_024
