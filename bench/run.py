"""``make bench``: speed side by side with peers, on this machine, in one run. Ratios count; machines are noisy."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from installs import measure_installs, print_installs
from peers import measure_uploads, print_uploads
from reads import print_reads


def main() -> int:
    """Measure and print."""
    print(f"machine: {os.cpu_count()} cores; python {sys.version.split()[0]}; medians and ratios, one run\n")
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as name:
        reads = Path(name) / "reads"
        reads.mkdir()
        print_reads(reads)
        uploads = Path(name) / "uploads"
        uploads.mkdir()
        print_uploads(measure_uploads(uploads))
        installs = Path(name) / "installs"
        installs.mkdir()
        print_installs(measure_installs(installs))
    print("\nwho signed")
    subprocess.run([sys.executable, str(Path(__file__).with_name("provenance.py"))], check=True)
    print("\nscale, the smallest size (make scale: up to eight million files)")
    subprocess.run([sys.executable, str(Path(__file__).with_name("scale.py")), "--signed-only", "10000"], check=True)
    print("\nauditing what is installed")
    subprocess.run([sys.executable, str(Path(__file__).with_name("audit.py"))], check=True)
    print("\nsignatures per second and kind of key")
    subprocess.run([sys.executable, str(Path(__file__).with_name("keys.py"))], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
