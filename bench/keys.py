"""Signatures per second and kind of key: files of every scheme, and a PKCS#11 token (SoftHSM 2), its session open."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "123456"
KEYS = {"p256": "hsm:1?label=bench", "p384": "hsm:2?label=bench", "ed25519": "hsm:3?label=bench"}


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="assay-bench-keys-") as name:
        folder = Path(name)
        (folder / "tokens").mkdir()
        (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n")
        pin = folder / "pin"
        pin.write_text(PIN)
        pin.chmod(0o600)
        config = {"SOFTHSM2_CONF": str(folder / "softhsm2.conf"), "PYKCS11LIB": MODULE}
        environ = {**os.environ, **config, "ASSAY_PASSPHRASE_FILE": str(pin)}

        def run(*words: str, quiet: bool = True) -> None:
            subprocess.run(words, check=True, env=environ, stdout=subprocess.DEVNULL if quiet else None)

        run("softhsm2-util", "--init-token", "--free", "--label", "bench", "--pin", PIN, "--so-pin", PIN)
        assay = (sys.executable, "-m", "assay", "key")
        for scheme, uri in KEYS.items():
            run(*assay, "create", uri, "--scheme", scheme)
        sys.stdout.flush()
        run(*assay, "bench", *(word for uri in KEYS.values() for word in ("--key", uri)), quiet=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
