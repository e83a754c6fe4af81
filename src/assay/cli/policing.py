"""The whole policy of one command: the project's, the user's, and the organisation's from the index that is asked."""

import hashlib
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from assay.client.organisation import organisation_layer
from assay.client.policed import PolicedSource, Watch
from assay.client.policies import local_policy, project_folder
from assay.client.registry import Registry, TrustedEntry, opened, user_data
from assay.client.run import utc_now
from assay.client.seen import SEEN_FILENAME, SeenBook
from assay.client.trusted_index import TrustedIndex
from assay.model.names import ProjectName
from assay.policy.judge import routed_index
from assay.policy.model import Facts, Policy
from assay.policy.rules import provenance_of


@dataclass(frozen=True, slots=True)
class Policed:
    """An index with the policy that counts there. ``others``: trusted indexes that the policy routes projects to."""

    index: TrustedIndex
    others: tuple[TrustedIndex, ...]
    policy: Policy
    books: tuple[SeenBook, ...]

    def index_of(self, project: ProjectName) -> TrustedIndex:
        """The index that the policy names for ``project``, else the one that is asked."""
        wanted = routed_index(self.policy, Facts(project, self.index.url, utc_now()))
        return next((each for each in self.others if each.url == wanted), self.index)

    def source(self, notice: Callable[[str], None], watch: Sequence[Watch] = ()) -> PolicedSource:
        """The indexes behind the policy; ``notice`` is told of what it lets pass."""
        return PolicedSource((self.index, *self.others), self.policy, utc_now, notice, watch)


@asynccontextmanager
async def policed(
    entry: TrustedEntry, policy: Policy, notice: Callable[[str], None], *, own: bool = False
) -> AsyncIterator[Policed]:
    """``entry`` opened, with its organisation's layer added to ``policy``. ``own``: this user's own local index."""
    async with AsyncExitStack() as stack:
        index = await stack.enter_async_context(opened(entry, notice=notice))
        if not own and (layer := await organisation_layer(index, entry.folder, notice)) is not None:
            policy = policy.with_layers([layer])
        wanted = {rule.value for layer in policy.layers for rule in layer.rules if rule.kind == "index"} - {entry.url}
        others = [
            await stack.enter_async_context(opened(each, notice=notice))
            for each in (Registry.of_user().entries() if wanted else ())
            if each.url in wanted
        ]
        for each in (index, *others):
            each.policy = provenance_of(policy)
        yield Policed(index, tuple(others), policy, tuple(books(Path.cwd())))


def books(working_folder: Path, *, begin: bool = False) -> list[SeenBook]:
    """Who was seen first: the project's record, and this user's own copy of it, which no pull request can edit.

    Empty where the project keeps none and never did; ``begin``: it does from now on.
    """
    folder, locks = project_folder(working_folder), user_data() / "seen"
    key = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:24]
    found = [SeenBook(locks / f"{key}.json", locks), SeenBook(folder / SEEN_FILENAME, locks)]
    return found if begin or any(os.path.lexists(book.path) for book in found) else []


def chosen_policy(chosen: Path | None) -> Policy:
    """The policy of this folder and user; ``chosen`` in the place of the project's file."""
    return local_policy(Path.cwd(), chosen)
