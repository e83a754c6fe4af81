"""``make bench``: speed side by side with peers, on this machine, in one run. Ratios count; machines are noisy."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from installs import measure_installs, print_installs
from peers import measure_uploads, print_uploads
from reads import Rate, measure_reads


def main() -> int:
    """Measure and print."""
    print(f"machine: {os.cpu_count()} cores; python {sys.version.split()[0]}; medians and ratios, one run\n")
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as name:
        reads = Path(name) / "reads"
        reads.mkdir()
        _print_reads(measure_reads(reads))
        uploads = Path(name) / "uploads"
        uploads.mkdir()
        print_uploads(measure_uploads(uploads))
        installs = Path(name) / "installs"
        installs.mkdir()
        print_installs(measure_installs(installs))
    print("\nwho signed")
    subprocess.run([sys.executable, str(Path(__file__).with_name("provenance.py"))], check=True)
    print("\nsignatures per second and kind of key")
    subprocess.run([sys.executable, str(Path(__file__).with_name("keys.py"))], check=True)
    return 0


def _print_reads(rates: dict[str, dict[str, Rate]]) -> None:
    print("requests per second, 16 connections, one wrk thread beside one server process")
    print(f"{'':28}{'nginx':>12}{'assay':>12}{'pypiserver':>12}{'assay/nginx':>14}{'assay/pypiserver':>18}")
    for what, label in (("page", "page, 20 files"), ("file", "wheel of 50 KB")):
        row = rates[what]
        nginx, ours, peer = (row[name].per_s for name in ("nginx", "assay", "pypiserver"))
        print(f"{label:28}{nginx:12.0f}{ours:12.0f}{peer:12.0f}{ours / nginx:14.2f}{ours / peer:18.1f}")
        print(f"{'  p99 ms':28}" + "".join(f"{row[name].p99_ms:12.2f}" for name in ("nginx", "assay", "pypiserver")))
    print()


if __name__ == "__main__":
    sys.exit(main())
