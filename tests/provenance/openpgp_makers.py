"""Makers of OpenPGP keys and signatures: Debian's gpg and sq, in a private home, at times of our choosing."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from assay.provenance.openpgp_packets import Packet, read_packets


class MissingProgramError(RuntimeError):
    """The tests need a program that is not installed."""


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise MissingProgramError(f"these tests need {name}: apt-get install {package}")
    return found


class Gpg:
    """GnuPG with an own home; ``at`` is the day that gpg believes it is."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.program = _program("gpg", "gnupg")

    def run(self, *arguments: str, at: str | None = None, stdin: bytes = b"") -> bytes:
        clock = ["--faked-system-time", at.replace("-", "") + "T000000!"] if at else []
        done = subprocess.run(
            [self.program, "--homedir", str(self.home), "--batch", "--no-tty", "--quiet", "--pinentry-mode", "loopback",
             "--passphrase", "", *clock, *arguments],
            input=stdin, capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"gpg {' '.join(arguments)}: {done.stderr.decode(errors='replace')}")
        return done.stdout

    def make_key(self, name: str, algorithm: str, usage: str, *options: str, at: str, expires: str = "never") -> str:
        """Make a key for ``name``; its fingerprint."""
        user_id = f"{name} <{name}@example.org>"
        self.run(*options, "--quick-gen-key", user_id, algorithm, usage, expires, at=at)
        return self.fingerprints(name)[0]

    def fingerprints(self, name: str) -> list[str]:
        """Fingerprints of the primary key and the subkeys of ``name``."""
        listing = self.run("--list-keys", "--with-colons", f"{name}@example.org").decode()
        return re.findall(r"^fpr:+([0-9A-F]+):", listing, re.MULTILINE)

    def sign(self, name: str, data: bytes, *options: str, at: str, mode: str = "--detach-sign") -> bytes:
        return self.run("--armor", "-u", f"{name}@example.org", *options, mode, at=at, stdin=data)

    def export(self, name: str) -> bytes:
        return self.run("--armor", "--export", f"{name}@example.org")


@contextmanager
def gpg_home() -> Iterator[Gpg]:
    """A gpg home with a short path (the agent's socket lies in it); its agent is stopped in the end."""
    with tempfile.TemporaryDirectory(prefix="pgp") as folder:
        gpg = Gpg(Path(folder))
        try:
            yield gpg
        finally:
            subprocess.run(
                ["gpgconf", "--homedir", folder, "--kill", "all"], check=False, timeout=30, capture_output=True
            )


class Sq:
    """Sequoia's sq (version 0.27, Debian 12) on key files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = _program("sq", "sq")

    def run(self, *arguments: str, stdin: bytes = b"") -> bytes:
        done = subprocess.run(
            [self.program, *arguments], input=stdin, capture_output=True, check=False, timeout=60, cwd=self.folder
        )
        if done.returncode != 0:
            raise RuntimeError(f"sq {' '.join(arguments)}: {done.stderr.decode(errors='replace')}")
        return done.stdout

    def make_key(self, name: str, *options: str, at: str) -> None:
        self.run("key", "generate", "--userid", f"{name} <{name}@example.org>", "--creation-time", at,
                 *options, "--export", f"{name}.key", "--rev-cert", f"{name}.rev")  # fmt: skip

    def sign(self, name: str, data: bytes, *, at: str) -> bytes:
        return self.run("sign", "--signer-key", f"{name}.key", "--detached", "--time", at, stdin=data)

    def export(self, name: str) -> bytes:
        return self.run("key", "extract-cert", f"{name}.key")

    def revoke(self, name: str, reason: str, *, at: str, subkey: str | None = None) -> bytes:
        """A revocation of the certificate, alone, or the certificate with a revocation of its ``subkey``."""
        (self.folder / f"{name}.cert").write_bytes(self.export(name))
        what = ["subkey"] if subkey else ["certificate"]
        keys = ["--certificate", f"{name}.cert", "--revocation-key", f"{name}.key"]
        return self.run("revoke", *what, *keys, "--time", at, *([subkey] if subkey else []), reason, "for the tests")


def packets_of(binary: bytes) -> list[Packet]:
    return list(read_packets(binary))


def repack(tag: int, body: bytes) -> bytes:
    """A packet with ``body``, in the new format."""
    return bytes([0xC0 | tag, 0xFF]) + len(body).to_bytes(4, "big") + body
