"""HTTP/1.1 on asyncio, with httptools (llhttp) as the parser on both sides: little code, little to load.

Invariants: what a peer can make us hold is bounded; a message that llhttp finds malformed ends its connection; nothing
is sent over a connection whose last message did not end cleanly.
"""
