"""Version control repositories on a command line or in a lock file: nobody vouches for them, so the policy decides."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from assay.model.errors import RefusedByPolicy
from assay.policy.judge import judge_repository
from assay.policy.model import Policy

_VCS: Final = re.compile(r"\b(?:git|hg|svn|bzr)[+ ]([a-z+]+://[^\s;?#]+)(?:\?[^\s;#]*)?(?:#([0-9a-f]{40,64})\b)?")
"""As on command lines (``git+https://host/path@REVISION``) and in uv.lock (``git https://host/path?rev=x#COMMIT``)."""
_SEEN_BY_PROXY: Final = ("http://", "https://")


def split_repository(text: str) -> tuple[str, str | None] | None:
    """The repository's URL and revision in ``text`` (``git+https://host/team/tool@REV``); None where there is none."""
    found = _VCS.search(text)
    if found is None:
        return None
    scheme, _, rest = found[1].partition("://")
    authority, _, path = rest.partition("/")
    path, at, revision = path.partition("@")
    return f"{scheme}://{authority.rpartition('@')[2]}/{path}", found[2] or (revision if at else None)


def require_allowed_repositories(command: Sequence[str], policy: Policy) -> None:
    """Raise RefusedByPolicy for a repository in ``command`` that the policy does not allow.

    One over http(s) passes through the proxy, whose rule about hosts is enough where no layer speaks of repositories.
    """
    speaks = any(layer.repositories is not None for layer in policy.layers)
    for word in command:
        found = split_repository(word)
        if found is None or (not speaks and found[0].startswith(_SEEN_BY_PROXY)):
            continue
        refusal = judge_repository(policy, *found)
        if isinstance(refusal, RefusedByPolicy):
            raise refusal


def git_protocols(policy: Policy, environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` in which Git fetches over http(s) alone, which the proxy sees, where no layer allows repositories."""
    if any(layer.repositories is not None for layer in policy.layers):
        return dict(environ)
    return {**environ, "GIT_ALLOW_PROTOCOL": "http:https"}
