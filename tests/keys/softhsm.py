"""Real PKCS#11 in tests: SoftHSM 2 (Debian's ``softhsm2``), each home folder with tokens of its own."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

PIN, SO_PIN = "123456", "87654321"
_MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so", "/usr/lib64/libsofthsm2.so")


def softhsm_module() -> Path:
    """SoftHSM's module. Fails with what to install when it is missing."""
    for candidate in _MODULES:
        if Path(candidate).exists() and shutil.which("softhsm2-util"):
            return Path(candidate)
    raise RuntimeError("these tests need SoftHSM 2: apt-get install softhsm2")


@dataclass(frozen=True)
class SoftTokens:
    """The software tokens below one home folder."""

    home: Path

    @property
    def environ(self) -> dict[str, str]:
        """What a process needs to see these tokens and no others."""
        return {"SOFTHSM2_CONF": str(self.home / "softhsm2.conf"), "PYKCS11LIB": str(softhsm_module())}

    def make(self, label: str) -> None:
        """Initialise a token."""
        folder = self.home / "tokens"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.home / "softhsm2.conf").write_text(f"directories.tokendir = {folder}\nobjectstore.backend = file\n")
        command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", SO_PIN]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, **self.environ})
