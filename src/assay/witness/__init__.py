"""The second pair of eyes, on somebody else's machine."""
