"""The key-signing ceremony: one plan file, a folder on a stick, detached signatures, a sealed transcript.

Nothing here trusts the stick. What is signed follows from the plan, the current metadata and the enrolments alone
(``building`` is a pure function), so every holder's own machine makes it again and compares; the fingerprint of it all
is typed by the holder; and every step leaves a hash-chained entry. docs/ceremony.md is the script for the room.
"""
