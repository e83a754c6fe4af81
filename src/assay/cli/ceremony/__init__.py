"""``assay ceremony``: offline keys, from the plan to the index. docs/ceremony.md is the script for the room."""

import click

from assay.cli.ceremony import index, office, people, plans

_IN_ORDER = (
    plans.draft,
    plans.rehearse,
    plans.plan,
    people.enroll,
    office.status,
    office.build,
    people.show,
    people.sign,
    office.collect,
    people.note,
    office.merge,
    office.verify,
    index.publish,
    people.countersign,
    index.audit,
    index.reminders,
    plans.re_root,
)
"""The verbs as the script for the room comes to them."""


class _InOrder(click.Group):
    """A group whose help lists its verbs in the order in which they are used."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The verbs."""
        return list(self.commands)


@click.group(cls=_InOrder)
def command() -> None:
    """Hold a key-signing ceremony: plan, enroll, build, show, sign, merge, verify, publish, countersign, audit.

    The ceremony travels as a folder on a stick. Each holder works on their own machine, in any order, on any day
    within the plan's window; every step can be interrupted and run again. `status` says what comes next.
    """


for _verb in _IN_ORDER:
    command.add_command(_verb)
