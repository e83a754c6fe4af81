"""Where policies lie: beside the project, in the user's configuration, and on the index as the organisation's.

A file that is there and cannot be read stops everything, also when it is a link that leads nowhere: whoever can make a
policy unreadable must not thereby make it empty.
"""

import os
from pathlib import Path
from typing import Final

import platformdirs

from assay.model.errors import CallerError
from assay.policy.model import Layer, Policy
from assay.policy.parse import MAX_POLICY_BYTES, POLICY_FILENAME, parse_layer

PROJECT, USER, ORGANISATION = "project", "user", "organisation"
_MARKS: Final = (".git", "pyproject.toml")


def load_layer(path: Path, name: str) -> Layer:
    """The policy at ``path``; paths in it are relative to its folder. Raises CallerError."""

    def read_file(relative: str) -> bytes:
        return _read(path.parent / relative)

    return parse_layer(_read(path), name, str(path), read_file)


def project_folder(working_folder: Path) -> Path:
    """The project that ``working_folder`` is in: the nearest folder upwards with a policy or a project's mark.

    Beyond the first mark nothing is looked at, so that nobody plants a policy higher up; without one only the working
    folder itself counts.
    """
    for folder in (working_folder, *working_folder.parents):
        if any(os.path.lexists(folder / mark) for mark in _MARKS):
            return folder
    return working_folder


def find_project_policy(working_folder: Path) -> Path | None:
    """The project's policy file: in the working folder, or up to the project's own."""
    top = project_folder(working_folder)
    for folder in (working_folder, *working_folder.parents):
        if os.path.lexists(folder / POLICY_FILENAME):
            return folder / POLICY_FILENAME
        if folder == top:
            break
    return None


def user_policy() -> Path:
    """Where this user's own policy lies, if there is one."""
    return Path(platformdirs.user_config_dir("assay")) / "policy.toml"


def local_policy(working_folder: Path, chosen: Path | None = None) -> Policy:
    """The project's policy (``chosen``: another file in its place) and the user's. Raises CallerError."""
    path = chosen or find_project_policy(working_folder)
    project = (load_layer(path, PROJECT),) if path is not None else ()
    return Policy((*project, *user_layers()))


def user_layers() -> tuple[Layer, ...]:
    """This user's own policy, where there is one. Raises CallerError."""
    return (load_layer(user_policy(), USER),) if os.path.lexists(user_policy()) else ()


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_POLICY_BYTES + 1)
    except OSError as error:
        raise CallerError(
            "the policy, or a file that it names, cannot be read",
            rule="policy-file",
            subject=str(path),
            found=error.strerror,
            next_step="repair the file; nothing was run",
        ) from error
