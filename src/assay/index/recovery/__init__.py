"""After a break-in: the last good publication found, held against whatever speaks of it, and made the newest again.

Order: freeze, compare, restore, then a ceremony that replaces every online key; until that one is handed over nothing
is served. Nothing here has authority over the past: what was signed offline stays, and what comes back is signed anew.
"""
