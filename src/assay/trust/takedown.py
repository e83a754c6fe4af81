"""Takedowns: a file that must never be installed again although it is sealed. Pure.

The role ``takedown`` is searched first, terminates, and has no targets: a path delegated to it is found nowhere. The
paths stand in ``targets``, so a takedown is the offline holders' decision, and every stock client honours it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from securesystemslib.signer import Key
from tuf.api.metadata import DelegatedRole, Targets

from assay.model.errors import CallerError
from assay.trust.layout import SPEC_VERSION, TAKEDOWN, TargetPath
from assay.trust.seal import with_delegations


def with_takedown(
    targets: Targets, paths: Iterable[TargetPath], keys: Sequence[Key], threshold: int, expires: datetime
) -> Targets:
    """The next version of ``targets``: ``paths`` are taken down, too, vouched for by ``keys``."""
    wanted = [*taken_down(targets), *paths]
    doubled = {path for path in wanted if wanted.count(path) > 1}
    if doubled:
        raise CallerError("taken down already", subject=min(doubled), rule="takedown-again")
    role = DelegatedRole(TAKEDOWN, sorted(key.keyid for key in keys), threshold, terminating=True, paths=sorted(wanted))
    return with_delegations(targets, {TAKEDOWN: role}, {key.keyid: key for key in keys}, set(), expires)


def empty_takedown(version: int, expires: datetime) -> Targets:
    """The role itself, which says nothing."""
    return Targets(version, SPEC_VERSION, expires, {})


def taken_down(targets: Targets) -> list[TargetPath]:
    """Every path that ``targets`` takes down."""
    roles = targets.delegations.roles if targets.delegations else None
    role = (roles or {}).get(TAKEDOWN)
    return [TargetPath(path) for path in role.paths or ()] if role else []
