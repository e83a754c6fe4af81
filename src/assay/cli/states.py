"""The states of files (PEP 592) and of projects (PEP 792): from ``assay yank`` to ``assay reactivate``."""

import click

from assay.cli.administering import Desk, administers
from assay.cli.output import print_result


@click.command()
@click.argument("project")
@click.argument("what", metavar="VERSION|FILENAME")
@click.option("--reason", default="", help="Shown to whoever installs it anyway.")
@administers
def yank(project: str, what: str, reason: str, desk: Desk, as_json: bool) -> None:
    """Yank a version or a file of PROJECT (PEP 592). ``assay unyank`` undoes it."""
    result = desk.perform("yank", project=project, what=what, reason=reason)
    print_result(result, f"yanked {result['project']} {what}: {result['state']}", as_json=as_json)


@click.command()
@click.argument("project")
@click.argument("what", metavar="VERSION|FILENAME")
@administers
def unyank(project: str, what: str, desk: Desk, as_json: bool) -> None:
    """Un-yank a version or a file of PROJECT."""
    result = desk.perform("unyank", project=project, what=what)
    print_result(result, f"un-yanked {result['project']} {what}: {result['state']}", as_json=as_json)


@click.command()
@click.argument("project")
@click.argument("what", metavar="[VERSION|FILENAME]", required=False)
@click.option("--whole-project", is_flag=True, help="Remove PROJECT with every file; its name is never given again.")
@click.option("--reason", required=True, help="For the log.")
@administers
def remove(project: str, what: str | None, whole_project: bool, reason: str, desk: Desk, as_json: bool) -> None:
    """Remove a version or a file of PROJECT. Its filenames never return; this cannot be undone.

    A file that was sealed stays vouched for: ``assay takedown`` is for those.
    """
    result = desk.perform("remove", project=project, what=what, whole_project=whole_project, reason=reason)
    removed = f"{result['project']} {what}" if what else result["project"]
    print_result(result, f"removed {removed}: {result['state']}", as_json=as_json)


def _status_verb(verb: str, told: str, explained: str) -> click.Command:
    """The verb that gives a project a status of PEP 792."""

    @click.command(verb, help=explained)
    @click.argument("project")
    @click.option("--reason", help="Shown on the project's page.")
    @administers
    def command(project: str, reason: str | None, desk: Desk, as_json: bool) -> None:
        result = desk.perform(verb, project=project, reason=reason)
        print_result(result, f"{told} {result['project']}: {result['state']}", as_json=as_json)

    return command


_UNDONE = "``assay reactivate`` undoes it."
archive = _status_verb("archive", "archived", f"Refuse uploads to PROJECT; its files stay (PEP 792). {_UNDONE}")
deprecate = _status_verb("deprecate", "deprecated", f"Mark PROJECT as obsolete (PEP 792). {_UNDONE}")
quarantine = _status_verb(
    "quarantine", "quarantined", f"Hide every file of PROJECT and refuse uploads to it (PEP 792). {_UNDONE}"
)
reactivate = _status_verb("reactivate", "reactivated", "Undo archive, deprecate or quarantine (PEP 792).")
