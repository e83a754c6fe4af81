"""Other people's archive readers: what each of them finds in an archive, as path to content.

A reader that is not installed is replaced by Python's own, and its id says so: ``unzip-missing-compared-with-python``.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Found = dict[str, bytes]
"""Content by path; a symbolic link is ``-> target``; directories are left out."""


@dataclass(frozen=True)
class Reader:
    id: str
    read: Callable[[bytes, Path], Found]


def _python_zip(data: bytes, _folder: Path) -> Found:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if archive.testzip() is not None:
            raise ValueError("bad CRC")
        return {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}


def _python_tar(data: bytes, _folder: Path) -> Found:
    found: Found = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        for info in archive:
            if info.issym():
                found[info.name] = f"-> {info.linkname}".encode()
            elif not info.isdir():
                content = archive.extractfile(info)
                found[info.name] = content.read() if content else b""
    return found


def _extract(command: list[str], data: bytes, folder: Path, *, piped: bool = False) -> Found:
    archive, target = folder / "archive", folder / "extracted"
    archive.write_bytes(data)
    target.mkdir()
    subprocess.run(
        [part.format(archive=archive, target=target) for part in command],
        input=data if piped else None,
        check=True,
        capture_output=True,
        env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]},
        timeout=30,
    )
    return read_tree(target)


def read_tree(root: Path) -> Found:
    found: Found = {}
    for parent, folders, files in os.walk(root):
        for name in [*files, *(folder for folder in folders if (Path(parent) / folder).is_symlink())]:
            path = Path(parent) / name
            content = f"-> {path.readlink()}".encode() if path.is_symlink() else path.read_bytes()
            found[str(path.relative_to(root))] = content
    return found


def _tool(name: str, label: str, command: list[str], fallback: Reader, *, piped: bool = False) -> Reader:
    if shutil.which(name) is None:
        return Reader(f"{label}-missing-compared-with-python", fallback.read)
    return Reader(label, lambda data, folder: _extract(command, data, folder, piped=piped))


PYTHON_ZIP = Reader("zipfile", _python_zip)
PYTHON_TAR = Reader("tarfile", _python_tar)
ZIP_READERS = [
    PYTHON_ZIP,
    _tool("unzip", "unzip", ["unzip", "-q", "{archive}", "-d", "{target}"], PYTHON_ZIP),
    _tool("bsdtar", "libarchive", ["bsdtar", "-xf", "{archive}", "-C", "{target}"], PYTHON_ZIP),
    _tool("bsdtar", "libarchive-streaming", ["bsdtar", "-xf", "-", "-C", "{target}"], PYTHON_ZIP, piped=True),
]
TAR_READERS = [
    PYTHON_TAR,
    _tool("bsdtar", "libarchive", ["bsdtar", "-xf", "{archive}", "-C", "{target}"], PYTHON_TAR),
    _tool("tar", "tar", ["tar", "-xzf", "{archive}", "-C", "{target}"], PYTHON_TAR),
]


def install_with_uv(data: bytes, filename: str, folder: Path) -> Found:
    """What uv writes when it installs a wheel, by path."""
    wheel, target = folder / filename, folder / "installed"
    wheel.write_bytes(data)
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--no-index"]
    command += ["--no-cache", "--no-config", "--python", sys.executable, "--target", str(target), str(wheel)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return read_tree(target)
