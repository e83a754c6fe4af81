"""Is byte-code what its source compiles to? A program of its own, run with the audited environment's Python version.

Python loads byte-code without looking at the source's content, so a forged ``.pyc`` runs whatever RECORD says of the
``.py``. Reads lines ``<source>\\0<byte-code>`` on standard
input; writes ``<byte-code>\\0<reason>`` for those that differ, and ``done`` at the end: unmarshalling forged bytes may
end the process, and silence must not look like success.
"""

import importlib.util
import marshal
import sys
from types import CodeType

MAX_MEMORY_BYTES = 1 << 30
_HEADER_BYTES = 16


def difference(source: bytes, compiled: bytes, filename: str) -> "str | None":
    """Why ``compiled``, whose file is called ``filename``, is not what ``source`` compiles to; None when it is."""
    if compiled[:4] != importlib.util.MAGIC_NUMBER:
        return "compiled by another version of Python"
    try:
        found = marshal.loads(compiled[_HEADER_BYTES:])  # noqa: S302  # compared, never run
    except (EOFError, ValueError, TypeError, MemoryError):
        return "not byte-code"
    if not isinstance(found, CodeType):
        return "not byte-code"
    level = 2 if ".opt-2." in filename else 1 if ".opt-1." in filename else 0
    try:
        fresh = compile(source, found.co_filename, "exec", dont_inherit=True, optimize=level)
    except (SyntaxError, ValueError):
        return "its source does not compile"
    return None if _equal(found, fresh) else "not what its source compiles to"


def _equal(found: CodeType, fresh: CodeType) -> bool:
    """Code objects compare names, constants (nested code, too), instructions and tables, but not the stack's size."""
    if found != fresh or found.co_stacksize != fresh.co_stacksize:
        return False
    nested = zip(found.co_consts, fresh.co_consts, strict=True)
    return all(_equal(one, other) for one, other in nested if isinstance(one, CodeType))


def _bound_memory() -> None:
    """Forged byte-code may ask for any amount. Windows has no such limit."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))


def main() -> None:
    """Compare what standard input names."""
    _bound_memory()
    for line in sys.stdin.buffer:
        source, compiled = line.decode("utf-8", "surrogateescape").rstrip("\n").split("\0")
        with open(source, "rb") as stream:  # noqa: PTH123  # pathlib costs more than the comparison of a small file
            text = stream.read()
        with open(compiled, "rb") as stream:  # noqa: PTH123
            reason = difference(text, stream.read(), compiled)
        if reason is not None:
            sys.stdout.buffer.write(f"{compiled}\0{reason}\n".encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.write(b"done\n")


if __name__ == "__main__":
    main()
