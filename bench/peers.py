"""Uploads per second beside pypiserver and devpi-server, each as it comes, over HTTP on loopback.

What their 200 promises differs. Assay's means: inspected, fsynced, signed, logged, installable. pypiserver writes the
file, devpi commits to SQLite; neither looks into the archive or signs anything.
"""

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from servers import assay, devpi, pypiserver
from uploads import Outcome, Uploader, make_uploads

FILES = 60
PROJECTS = 6
CONNECTIONS = (1, 8)


def measure_uploads(folder: Path) -> Mapping[str, Mapping[int, Outcome]]:
    """Server -> connections -> what came of FILES uploads. Raises RuntimeError for an upload that was refused."""
    found: dict[str, dict[int, Outcome]] = {}
    for name in ("assay", "pypiserver", "devpi"):
        with ExitStack() as stack:
            uploader = _start(name, folder / name, stack)
            found[name] = {count: _measure(name, uploader, count) for count in CONNECTIONS}
    return found


def _start(name: str, folder: Path, stack: ExitStack) -> Uploader:
    folder.mkdir()
    if name == "assay":
        index = stack.enter_context(assay(folder, "off"))
        return Uploader(f"{index.url}legacy/", "__token__", index.token)
    if name == "pypiserver":
        return Uploader(stack.enter_context(pypiserver(folder, "-a", ".", "-P", ".")), "anybody", "")
    return Uploader(*stack.enter_context(devpi(folder)))


def _measure(name: str, uploader: Uploader, connections: int) -> Outcome:
    uploads = make_uploads(FILES, PROJECTS, f"benched{connections}")
    outcome = asyncio.run(uploader.as_fast_as_possible(uploads, connections))
    if outcome.refused:
        raise RuntimeError(f"{name}: {outcome.refused[0]}")
    return outcome


def print_uploads(found: Mapping[str, Mapping[int, Outcome]]) -> None:
    """The table."""
    print("uploads per second (median ms of one); Assay's are inspected, durable, signed and logged")
    for connections in CONNECTIONS:
        rates = {name: outcomes[connections] for name, outcomes in found.items()}
        cells = "".join(f"  {name} {each.per_s:6.1f} ({each.percentile_ms(50):6.1f})" for name, each in rates.items())
        ours = rates["assay"].per_s
        ratios = ", ".join(f"{ours / each.per_s:.2f} of {name}" for name, each in rates.items() if name != "assay")
        print(f"  {f'{connections} at once':12}{cells}   assay: {ratios}")
    print()


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory(prefix="assay-bench-") as root:
        print_uploads(measure_uploads(Path(root)))
