"""A source that hands on only what the policy allows: the one place where verified data meets the policy.

Invariants: a routed project is asked of its index and of no other; every file is judged with the evidence that was
verified for it, before anybody reads it; what the policy lets pass is told, once.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from assay.client.proxy.source import VerifiedSource
from assay.formats.pages import PageFile, ProjectPage, version_of
from assay.model.distributions import Distribution
from assay.model.errors import NotFound
from assay.model.names import ProjectName
from assay.policy.judge import Judgement, judge, routed_index, rules_for
from assay.policy.model import Facts, Policy, Stage
from assay.policy.rules import KINDS
from assay.trust.layout import TargetPath

if TYPE_CHECKING:
    from assay.client.trusted_index import VerifiedFile, VerifiedPage

_MOMENTS = ("uploaded_at", "signed_at")
"""Members of a target's ``custom`` that say when it was published; in a seal or claim nobody can backdate them."""

Watch = Callable[[Facts, "VerifiedFile"], None]
"""Is told of each file that passed, before it is handed on; may raise."""


class PolicedSource:
    """``sources``: the index that is asked, and others that the policy may route projects to. See ``VerifiedSource``.

    ``watch`` sees each file that passes the policy; ``notice`` is told of what a leniency lets pass.
    """

    def __init__(
        self,
        sources: Sequence[VerifiedSource],
        policy: Policy,
        clock: Callable[[], datetime],
        notice: Callable[[str], None],
        watch: Sequence[Watch] = (),
    ) -> None:
        self._sources = sources
        self._policy = policy
        self._clock = clock
        self._notice = notice
        self._watch = watch
        self._told: set[str] = set()
        self._pages: dict[ProjectName, ProjectPage] = {}

    @property
    def url(self) -> str:
        """Base URL of the index that is asked."""
        return self._sources[0].url

    async def refresh(self) -> None:
        """Bring the trusted metadata of the index up to date; that of others follows when a project is routed there."""
        await self._sources[0].refresh()

    async def taken_down(self) -> list[TargetPath]:
        """The takedowns of every index."""
        return [path for source in self._sources for path in await source.taken_down()]

    async def page(self, project: ProjectName) -> "VerifiedPage | None":
        """The page of ``project``, from the index that the policy names for it. Raises RefusedByPolicy."""
        source, facts = self._route(project)
        self._require(judge(self._policy, facts, Stage.PROJECT))
        page = await source.page(project)
        if page is not None:
            self._pages[project] = page.page
        return page

    def hidden(self, page: ProjectPage) -> frozenset[str]:
        """The filenames of ``page`` that the policy keeps off it, so that installers take others."""
        _, facts = self._route(page.project)
        if not any(KINDS[rule.kind].hides for _, rule in rules_for(self._policy, facts)):
            return frozenset()
        return frozenset(file.filename for file in page.files if self._judge_listed(page, file).hides)

    async def file(self, distribution: Distribution) -> "VerifiedFile":
        """The file, verified, with evidence that satisfies the policy. Raises RefusedByPolicy."""
        page, entry = await self._listed(distribution)
        self._require(self._judge_listed(page, entry), tell=False)
        source, facts = self._route(distribution.project)
        file = await source.file(distribution)
        signature = file.evidence.signature if file.evidence else None
        facts = Facts(
            project=distribution.project,
            index=facts.index,
            now=facts.now,
            version=distribution.version,
            filename=distribution.filename,
            uploaded=_published(entry, file.custom),
            rings=file.rings,
            signed_with=signature.certificate if signature else None,
            attested=file.evidence.attestations if file.evidence else (),
        )
        self._require(judge(self._policy, facts, Stage.FILE))
        for watch in self._watch:
            watch(facts, file)
        return file

    async def bring(self, distribution: Distribution) -> None:
        """Have the file on this machine, verified; the policy judges it once it is asked for."""
        source, _ = self._route(distribution.project)
        await source.file(distribution)

    async def sidecar(self, distribution: Distribution) -> bytes:
        """The METADATA of a wheel that the policy may yet allow. Raises RefusedByPolicy."""
        page, entry = await self._listed(distribution)
        self._require(self._judge_listed(page, entry), tell=False)
        return await self._route(distribution.project)[0].sidecar(distribution)

    def _route(self, project: ProjectName) -> tuple[VerifiedSource, Facts]:
        """Whom to ask; the first source where the wanted index is not among them, and then the policy refuses."""
        facts = Facts(project, self.url, self._clock())
        wanted = routed_index(self._policy, facts)
        source = next((source for source in self._sources if source.url == wanted), self._sources[0])
        return source, Facts(project, source.url, facts.now)

    async def _listed(self, distribution: Distribution) -> tuple[ProjectPage, PageFile]:
        page = self._pages.get(distribution.project)
        entry = page.file(distribution.filename) if page else None
        if entry is None:
            verified = await self.page(distribution.project)
            page = verified.page if verified else None
            entry = page.file(distribution.filename) if page else None
        if page is None or entry is None:
            raise NotFound("the index has no such file", subject=distribution.filename)
        return page, entry

    def _judge_listed(self, page: ProjectPage, entry: PageFile) -> Judgement:
        source, facts = self._route(page.project)
        version = version_of(page.project, entry)
        listed = Facts(page.project, source.url, facts.now, version, entry.filename, entry.upload_time)
        return judge(self._policy, listed, Stage.LISTED)

    def _require(self, judgement: Judgement, *, tell: bool = True) -> None:
        """Raise the first refusal; else tell each leniency once (a file's are told when all of it is known)."""
        for refusal in judgement.refusals:
            raise refusal
        for notice in judgement.notices if tell else ():
            if notice not in self._told:
                self._told.add(notice)
                self._notice(notice)


def _published(entry: PageFile, custom: Mapping[str, Any]) -> datetime:
    """The latest moment that anything signed names: the page is signed online, a sealed target is not."""
    moments = [entry.upload_time]
    for name in _MOMENTS:
        try:
            moment = datetime.fromisoformat(str(custom[name]))
        except (KeyError, ValueError):
            continue
        if moment.tzinfo is not None:
            moments.append(moment)
    return max(moments)
