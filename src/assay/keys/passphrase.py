"""Where passphrases and PINs come from: a private file, an inherited descriptor, a prompt; never the command line.

A provider is called with the name of the secret it is asked for and returns it as text, so it serves as
securesystemslib's ``SecretsHandler`` too. Invariants: what was read is not shown by repr; an empty secret is refused.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import click

from assay.keys.files import read_private_file
from assay.model.errors import CallerError, KeyUnavailable

MAX_SECRET_BYTES = 4096
FD_VARIABLE = "ASSAY_PASSPHRASE_FD"
FILE_VARIABLE = "ASSAY_PASSPHRASE_FILE"


class SecretsProvider(Protocol):
    """Answers with the secret called ``name`` ("passphrase", "pin"). Raises KeyUnavailable when it has none."""

    def __call__(self, name: str, /) -> str:
        """The secret."""


SecretsOf = Callable[[str], SecretsProvider]
"""A key's URI -> where its secret comes from: two tokens may have two PINs."""


@dataclass(frozen=True, slots=True)
class SecretFromFile:
    """The first line of a file that its owner alone may read. Read anew on every call."""

    path: Path
    allow_group: bool = False

    def __call__(self, name: str, /) -> str:
        """The secret. Raises KeyUnavailable for an open, missing, empty or oversized file."""
        return _first_line(read_private_file(self.path, MAX_SECRET_BYTES, allow_group=self.allow_group), str(self.path))


@dataclass(slots=True)
class SecretFromDescriptor:
    """The first line of what an inherited file descriptor gives; read once, then the descriptor is closed."""

    descriptor: int
    _secret: str | None = field(default=None, repr=False)

    def __call__(self, name: str, /) -> str:
        """The secret. Raises KeyUnavailable when the descriptor is not open or empty."""
        if self._secret is None:
            subject = f"descriptor {self.descriptor}"
            try:
                with os.fdopen(self.descriptor, "rb") as stream:
                    data = stream.read(MAX_SECRET_BYTES + 1)
            except OSError as error:
                raise KeyUnavailable("the passphrase cannot be read", subject=subject, found=error.strerror) from error
            if len(data) > MAX_SECRET_BYTES:
                raise KeyUnavailable("too long for a passphrase", subject=subject)
            self._secret = _first_line(data, subject)
        return self._secret


@dataclass(frozen=True, slots=True)
class SecretFromPrompt:
    """Asks a person on the terminal, without echo. ``label`` says which key; ``confirm`` asks twice (for a new key)."""

    label: str = ""
    confirm: bool = False

    def __call__(self, name: str, /) -> str:
        """The secret. Raises KeyUnavailable when there is nobody to ask or nothing was typed."""
        asked = "PIN" if name == "pin" else name.capitalize()
        question = f"{asked} for {self.label}" if self.label else asked
        try:
            answer: str = click.prompt(question, hide_input=True, confirmation_prompt=self.confirm, err=True)
        except click.Abort as error:
            raise KeyUnavailable(
                f"no {name} was given",
                subject=self.label or None,
                next_step=f"name a file in {FILE_VARIABLE}, or an open descriptor in {FD_VARIABLE}",
            ) from error
        return answer


@dataclass(slots=True)
class SecretOnce:
    """Asks another provider once and keeps each name's answer in memory, so that several keys cost one question."""

    source: Callable[[str], str]
    _known: dict[str, str] = field(default_factory=dict, repr=False)

    def __call__(self, name: str, /) -> str:
        """The secret called ``name``."""
        if name not in self._known:
            self._known[name] = self.source(name)
        return self._known[name]


def secrets_from_environment(environ: Mapping[str, str], label: str = "", *, confirm: bool = False) -> SecretsProvider:
    """The provider that the environment asks for: a descriptor, a file, else the prompt.

    ``ASSAY_PASSPHRASE_FD`` holds a descriptor's number, ``ASSAY_PASSPHRASE_FILE`` a path. The secret itself is never
    taken from a variable: other processes of the user can read those. Raises CallerError when both are set or one is
    malformed.
    """
    descriptor, path = environ.get(FD_VARIABLE), environ.get(FILE_VARIABLE)
    if descriptor and path:
        raise CallerError(
            "two sources of the passphrase", rule="passphrase-source", found=f"{FD_VARIABLE} and {FILE_VARIABLE}"
        )
    if descriptor:
        if not descriptor.isascii() or not descriptor.isdigit():
            raise CallerError("not a descriptor's number", rule="passphrase-source", subject=FD_VARIABLE)
        return SecretFromDescriptor(int(descriptor))
    if path:
        return SecretFromFile(Path(path))
    return SecretFromPrompt(label, confirm)


def _first_line(data: bytes, subject: str) -> str:
    line = data.split(b"\n", 1)[0].rstrip(b"\r")
    try:
        secret = line.decode()
    except UnicodeDecodeError as error:
        # The cause is dropped: its message would quote bytes of the secret.
        raise KeyUnavailable("the passphrase is not UTF-8", subject=subject, found=error.reason) from None
    if not secret:
        raise KeyUnavailable("the passphrase is empty", subject=subject)
    return secret
