"""The command line: one file per verb, thin, imported only when its verb is used."""

import gc
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Final

import click

from assay import __version__
from assay.cli.output import report_error
from assay.model.errors import AssayError

SECTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "Install": {
        "run": "run any installer, verified",
        "trust": "which indexes this machine trusts",
        "explain": "who vouches for a file, since when, with which authority",
        "verify": "are these files what the index vouches for?",
        "audit": "is this installed environment what the index vouches for?",
        "lock": "is every hash in these lock files what the index vouches for?",
        "policy": "what may be installed here, by whose word",
        "bundle": "what a lock file needs, for machines without a network",
        "setup": "pip and uv from a trusted index for good, without a word in front",
        "proxy": "the endpoint on loopback that assay setup configures them for",
        "demo": "the whole story in one minute, ending in attacks that fail",
    },
    "Publish": {
        "publish": "sign and upload files of a claimed project",
        "claim": "only a project's own developers can publish for it",
        "attest": "attest files with an organisation's own authority",
        "certificate": "the OpenPGP certificates of a project",
        "attester": "who attests a project's files (PEP 740)",
        "publisher": "trusted publishing: which CI may upload what",
    },
    "Run an index": {
        "serve": "run the index",
        "init": "make the data folder of an index",
        "doctor": "does everything that the index says agree?",
        "upstream": "take over the listing of the index that projects are pulled through from",
        "refresh": "sign what keeps clients from refusing the index, by hand",
        "scrub": "is every blob still the bytes that its name says?",
        "backup": "a copy of the whole index, while it serves",
        "restore": "a backup brought back, never below what was published",
        "recover": "after a break-in: the last good publication is the newest again",
        "user": "accounts: create, list",
        "token": "API tokens: create, list, revoke",
        "project": "register, show, list and transfer projects",
        "grant": "who may upload to a project",
        "yank": "installers pass a file or version over unless it is pinned",
        "unyank": "undo a yank",
        "remove": "take a file, a version or a project away for good",
        "archive": "a project that takes no more uploads",
        "deprecate": "tell installers that a project is obsolete",
        "quarantine": "offer nothing of a project, take nothing for it",
        "reactivate": "undo archive, deprecate or quarantine",
    },
    "Offline keys, and what only they can do": {
        "ceremony": "plan, sign, verify and publish",
        "key": "make and inspect keys",
        "seal": "make what was published unchangeable",
        "bins": "how many signed parts a large index has",
        "takedown": "a file that must never be installed again",
        "trust-root": "an organisation's own attestation authority",
    },
    "A second pair of eyes": {
        "witness": "co-sign what an index publishes, on another machine",
        "log": "does the index show everybody the same, and is everything it signed in its log?",
        "tuf-client": "the conformance protocol for TUF clients",
    },
}
SHARED: Final[Mapping[str, str]] = dict.fromkeys(
    ("yank", "unyank", "remove", "archive", "deprecate", "quarantine", "reactivate"), "states"
)
"""Verbs that are one of several commands of a module."""
VERBS: Final = frozenset(verb for verbs in SECTIONS.values() for verb in verbs)


class LazyGroup(click.Group):
    """A group whose verbs are modules ``assay.cli.<verb>`` with a ``command``, but for ``SHARED``; loaded on use."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Every verb, in alphabetical order."""
        return sorted(VERBS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """The verb's command."""
        if name not in VERBS:
            return None
        module = import_module(f"assay.cli.{SHARED.get(name, name).replace('-', '_')}")
        if not gc.isenabled():
            gc.freeze()
            gc.enable()
        command: click.Command = getattr(module, name if name in SHARED else "command")
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs by who uses them, without importing any."""
        width = max(map(len, VERBS))
        for title, verbs in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(verb.ljust(width), what) for verb, what in verbs.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "ASSAY"})
@click.version_option(__version__, "-V", "--version")
def cli() -> None:
    """Assay: an index that stays trustworthy after a break-in, and a client that makes every installer verify.

    Exit codes: 2 usage, 10 verification failed, 11 not fresh, 12 refused by policy, 13 unreachable, 14 not trusted yet.
    """


def main() -> None:
    """The program ``assay``."""
    gc.disable()  # until its verb is loaded: to look for garbage in what imports make costs a tenth of the start
    try:
        cli(standalone_mode=True)
    except AssayError as error:
        sys.exit(report_error(error))
