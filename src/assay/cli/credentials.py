"""Where API tokens come from: a file, the environment or a prompt; never an argument, which everybody can list."""

import os
import sys
from pathlib import Path
from typing import Final

import click

from assay.model.errors import CallerError

TOKEN_VARIABLES: Final = ("ASSAY_TOKEN", "TWINE_PASSWORD")

token_option = click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Holds your API token.  [default: ASSAY_TOKEN or TWINE_PASSWORD, or asked for]",
)


def read_token(file: Path | None, url: str) -> str:
    """The token in ``file``, in the environment, or typed in. Raises CallerError."""
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise CallerError("the token cannot be read", subject=str(file), rule="token-file") from error
    for name in TOKEN_VARIABLES:
        if token := os.environ.get(name, "").strip():
            return token
    if not sys.stdin.isatty():
        raise CallerError(
            "an API token is needed", rule="no-credentials", next_step="--token-file FILE, or set ASSAY_TOKEN"
        )
    token = click.prompt(f"Token for {url}", hide_input=True, err=True)
    return str(token).strip()
