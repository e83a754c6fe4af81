"""The scripts that installers write for entry points: known by what they do, whatever their layout.

Nobody signs a launcher: every installer writes its own. A launcher is sound when its syntax tree is that of a known
installer's template for exactly this entry point, and its first line starts the environment's own interpreter.
"""

import ast
import configparser
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MAX_LAUNCHER_BYTES: Final = 16_384

_HEAD: Final = "import sys\nfrom {module} import {name}\nif __name__ == '__main__':\n"
_BODIES: Final = (
    r"    sys.argv[0] = re.sub(r'(-script\.pyw|\.exe)?$', '', sys.argv[0])",  # distlib (pip), installer (poetry, pdm)
    r"    sys.argv[0] = re.sub(r'(-script\.pyw?|\.exe)?$', '', sys.argv[0])",
    "    sys.argv[0] = sys.argv[0].removesuffix('.exe')",  # pip from 25.3
    "    if sys.argv[0].endswith('.exe'):\n        sys.argv[0] = sys.argv[0][:-4]",
    (
        "    if sys.argv[0].endswith('-script.pyw'):\n        sys.argv[0] = sys.argv[0][:-11]\n"
        "    elif sys.argv[0].endswith('.exe'):\n        sys.argv[0] = sys.argv[0][:-4]"
    ),  # uv
    "",
)
_LONG_SHEBANG: Final = re.compile(r"\A#!/bin/sh\n'''exec' \"?([^\"\n]+?)\"? \"\$0\" \"\$@\"\n' '''\n")
_ENTRY: Final = re.compile(r"\A\s*([\w.]+)\s*:\s*([\w.]+)\s*(?:\[.*\])?\s*\Z")


def entry_points(text: str) -> dict[str, tuple[str, str]]:
    """Module and object of every script that ``entry_points.txt`` names. What is malformed is left out."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    return {
        name: (entry[1], entry[2])
        for section in ("console_scripts", "gui_scripts")
        if parser.has_section(section)
        for name, value in parser.items(section)
        if (entry := _ENTRY.match(value))
    }


def is_launcher(data: bytes, module: str, target: str, scripts: Path) -> bool:
    """Is ``data`` what installers write for ``module:target`` where the programs are in ``scripts``?"""
    if len(data) > MAX_LAUNCHER_BYTES:
        return False
    try:
        text = data.decode("utf-8")
        interpreter, body = split_shebang(text)
        tree = ast.dump(ast.parse(body))
    except (ValueError, SyntaxError, RecursionError):
        return False
    return is_of_environment(interpreter, scripts) and tree in set(_trees(module, target))


def split_shebang(text: str) -> tuple[str, str]:
    """The interpreter that the first line names, and what follows. Raises ValueError where it names none."""
    if long := _LONG_SHEBANG.match(text):
        return long.group(1), text[long.end() :]
    first, _, rest = text.partition("\n")
    if not first.startswith("#!"):
        raise ValueError("no interpreter")
    return first[2:].strip().strip('"'), rest


def is_of_environment(interpreter: str, scripts: Path) -> bool:
    """Does ``interpreter`` name a Python in the folder ``scripts``?"""
    path = Path(interpreter)
    return path.parent == scripts and path.name.startswith("python")


def _trees(module: str, target: str) -> Iterator[str]:
    head = _HEAD.format(module=module, name=target.partition(".")[0])
    for body in _BODIES:
        imports = "import re\n" if "re.sub" in body else ""
        for imported in {imports, "import re\n"}:
            yield ast.dump(ast.parse(f"{imported}{head}{body}\n    sys.exit({target}())\n"))
