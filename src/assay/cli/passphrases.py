"""Passphrases of key folders: asked for, or known not to be needed because the folder is marked so."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from assay.cli.output import colours
from assay.index.config import DataFolder
from assay.index.establish import is_new
from assay.keys.passphrase import secrets_from_environment
from assay.model.errors import OperatorError

MARKER = "INSECURE-DEV-KEYS"


def data_passphrase(data: DataFolder, *, insecure: bool) -> str | None:
    """The passphrase of an index's key files, or None when they are meant to be unencrypted."""
    return marked_passphrase(data.root, "index", new=is_new(data), insecure=insecure, make=data.make)


def marked_passphrase(folder: Path, owner: str, *, new: bool, insecure: bool, make: Callable[[], object]) -> str | None:
    """The passphrase of the keys in ``folder``, or None when they are meant to be unencrypted, which it then says.

    ``make`` makes the folder, so that it can be marked. Raises OperatorError for encrypted keys called insecure.
    """
    marker = folder / MARKER
    if insecure and not new and not marker.exists():
        raise OperatorError("these keys are encrypted; --insecure-dev-keys is for new folders", subject=str(folder))
    if insecure or marker.exists():
        make()
        marker.touch()
        warning = f"assay: the private keys of this {owner} are NOT encrypted (--insecure-dev-keys): for demos only"
        click.secho(warning, fg="yellow", err=True, color=colours(sys.stderr))
        return None
    return secrets_from_environment(os.environ, f"the keys of {folder}", confirm=new)("passphrase")
