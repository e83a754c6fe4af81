"""The command line: one file per verb, thin, imported only when its verb is used."""

import sys
from importlib import import_module
from importlib.util import find_spec

import click

from assay import __version__
from assay.cli.output import report_error
from assay.model.errors import AssayError

VERBS = {
    "archive": "a project that takes no more uploads",
    "attest": "attest files with an organisation's own authority",
    "attester": "who attests a project's files (PEP 740)",
    "audit": "is this installed environment what the index vouches for?",
    "ceremony": "offline keys: plan, sign, verify and publish",
    "claim": "only a project's own developers can publish for it",
    "certificate": "the OpenPGP certificates of a project",
    "deprecate": "tell installers that a project is obsolete",
    "doctor": "does everything that the index says agree?",
    "demo": "the whole story in one minute, ending in attacks that fail",
    "explain": "who vouches for a file, since when, with which authority",
    "grant": "who may upload to a project",
    "init": "make the data folder of an index",
    "key": "make and inspect keys",
    "lock": "is every hash in these lock files what the index vouches for?",
    "log": "does the index show everybody the same, and is everything it signed in its log?",
    "project": "register, list and transfer projects",
    "publish": "sign and upload files of a claimed project",
    "publisher": "trusted publishing: which CI may upload what",
    "quarantine": "offer nothing of a project, take nothing for it",
    "reactivate": "undo archive, deprecate or quarantine",
    "remove": "take a file, a version or a project away for good",
    "run": "run any installer, verified",
    "seal": "make what was published unchangeable",
    "serve": "run the index",
    "takedown": "a file that must never be installed again",
    "token": "API tokens: create, list, revoke",
    "trust": "which indexes this machine trusts",
    "trust-root": "an organisation's own attestation authority",
    "tuf-client": "the conformance protocol for TUF clients",
    "unyank": "undo a yank",
    "user": "accounts: create, list",
    "verify": "are these files what the index vouches for?",
    "witness": "co-sign what an index publishes, on another machine",
    "yank": "installers pass a file or version over unless it is pinned",
}


class LazyGroup(click.Group):
    """A group whose verbs are modules ``assay.cli.<verb>`` with a ``command``, loaded on use."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Every verb, in order."""
        return sorted(verb for verb in VERBS if find_spec(_module(verb)) is not None)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """The verb's command."""
        if name not in VERBS or find_spec(_module(name)) is None:
            return None
        command: click.Command = import_module(_module(name)).command
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of verbs, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb, VERBS[verb]) for verb in self.list_commands(_ctx)])


def _module(verb: str) -> str:
    return f"assay.cli.{verb.replace('-', '_')}"


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "ASSAY"})
@click.version_option(__version__, "-V", "--version")
def cli() -> None:
    """Assay: an index that stays trustworthy after a break-in, and a client that makes every installer verify.

    Exit codes: 2 usage, 10 verification failed, 11 not fresh, 12 refused by policy, 13 unreachable, 14 not trusted yet.
    """


def main() -> None:
    """The program ``assay``."""
    try:
        cli(standalone_mode=True)
    except AssayError as error:
        sys.exit(report_error(error))
