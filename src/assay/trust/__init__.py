"""The TUF engine: layout, plans, checks. Pure: bytes, clock and limits are parameters."""
