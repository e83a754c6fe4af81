"""A draft that the index signed, completed with its witnesses' signatures. One round trip where one witness is enough.

The timestamp names the snapshot's complete file. One witness can foresee it (the index's signature, then its own), so
it signs both at once. Where more must sign, nobody can foresee who answers first: the snapshot's signatures are
collected first, and a second round asks for the timestamp's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Key, Signature
from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from assay.index.published import PublishedStore
from assay.index.signer.claims import ClaimsDraft, PublishedClaims
from assay.index.signer.draft import Draft
from assay.index.signer.online import OnlineKeys
from assay.index.signer.state import PublishedState
from assay.index.signer.witnesses import Verdict, WitnessesSilent, WitnessPanel
from assay.model.errors import AssayError, OperatorError, SignerRefused, VerificationFailed
from assay.model.names import ProjectName
from assay.trust import canonical
from assay.trust.candidate import Candidate, Cosignatures, Lacking, Stamp, cosigned, stamp_of, timestamp_of
from assay.trust.claims import CLAIM_PREFIX
from assay.trust.envelope import assemble, parse_envelope
from assay.trust.layout import ROOT, SNAPSHOT, TIMESTAMP, metadata_path
from assay.trust.log.checkpoint import LogHead
from assay.trust.log.identity import LOG, stated_head
from assay.trust.log.note import parse_note, with_signatures
from assay.trust.log.proofs import consistency_ranges, prove, tiles_needed
from assay.trust.log.tiles import Tile
from assay.trust.log.tree import Hash
from assay.trust.offline import OfflineRoles
from assay.trust.plan import succinct_roles


class Cosigning:
    """The completion of one draft. ``panel``: whom to ask; ``root`` and ``bins``: who signs once it is published."""

    def __init__(
        self,
        panel: WitnessPanel,
        published: PublishedStore,
        state: PublishedState,
        draft: Draft,
        offline: OfflineRoles,
        keys: OnlineKeys,
        root: Root,
        bins: Targets,
    ) -> None:
        self._panel = panel
        self._published = published
        self._state = state
        self._draft = draft
        self._keys = keys
        self._root = root
        self._bins = bins
        self._needed = cosignatures_needed(root, bins)
        self._timestamp = parse_envelope(draft.timestamp, Timestamp, TIMESTAMP)
        version = self._timestamp.signed.snapshot_meta.version
        self._snapshot_path = metadata_path(SNAPSHOT, version)
        self._snapshot = parse_envelope(draft.files[self._snapshot_path], Snapshot, SNAPSHOT)
        self._roles = _changed_roles(draft, offline)
        self._stamp: Stamp = stamp_of(self._timestamp.signed)
        self._payloads = {role: parse_envelope(self._roles[role], Targets, role).payload for role in draft.bins}
        self._payloads[SNAPSHOT] = self._snapshot.payload

    def completed(self) -> Draft:
        """The draft with every signature it needs. Raises WitnessRefused, Unreachable, OperatorError."""
        if not self._panel.names:
            raise OperatorError(
                "the root asks for a witness's signature, and the configuration names no witness",
                rule="no-witness",
                next_step="add [[witness]] name and url to config.toml",
            )
        candidate, needed = self._candidate(), self._needed
        given = _enough(self._ask(candidate, self._accept), needed)
        snapshot_signatures = tuple(one.roles[SNAPSHOT] for one in given)
        stamps = [one.timestamp for one in given]
        if needed > 1:
            candidate = replace(candidate, cosignatures=snapshot_signatures)
            accept = partial(self._accept, snapshot_signatures=snapshot_signatures)
            stamps = [one.timestamp for one in _enough(self._ask(candidate, accept), needed)]
        snapshot, document, payload = self._timestamp_after(snapshot_signatures)
        files = dict(self._draft.files)
        files[self._snapshot_path] = snapshot
        for role, body in self._draft.bins.items():
            path = metadata_path(role, body.version)
            files[path] = cosigned(files[path], [one.roles[role] for one in given])
        lines = [one.checkpoint for one in given if one.checkpoint is not None]
        for path in [path for path in files if lines and path.startswith(f"{LOG}/checkpoints/")]:
            files[path] = with_signatures(parse_note(files[path]), lines).render()
        own = self._keys.timestamp.sign(payload)
        timestamp = assemble(document, [own, *(stamp for stamp in stamps if stamp is not None)])
        return replace(self._draft, files=files, timestamp=timestamp)

    def _ask(self, candidate: Candidate, accept: Callable[[Verdict], Verdict]) -> list[Verdict]:
        return self._panel.ask(candidate, self._supply, accept, self._needed, self._keys.snapshot)

    def _timestamp_after(self, snapshot_signatures: Sequence[Signature]) -> tuple[bytes, dict[str, Any], bytes]:
        """The complete snapshot file; the timestamp that names it, as a document and as the bytes that are signed."""
        snapshot = cosigned(self._snapshot.data, snapshot_signatures)
        document = timestamp_of(self._stamp, self._snapshot.signed.version, snapshot).to_dict()
        return snapshot, document, canonical.encode(document)

    # --- the candidate ------------------------------------------------------------------------------------

    def _candidate(self) -> Candidate:
        published = self._state.timestamp
        old = stated_head(published) if published is not None else None
        return Candidate(
            root_version=self._root.version,
            roots=(self._draft.root,) if self._draft.root else (),
            roles=self._roles,
            snapshot=self._snapshot.data,
            stamp=self._stamp,
            removed=self._draft.withdrawn,
            log_from=old.size if old else 0,
            log_proof=self._prove_growth(old.size if old else 0),
        )

    def _supply(self, candidate: Candidate, lacking: Lacking) -> Candidate:
        """``candidate`` with what a witness lacks, as far as it was published here. Raises SignerRefused."""
        roles = {role: version for role, version in lacking.roles.items() if role != ROOT}
        first = lacking.roles.get(ROOT, self._root.version + 1)
        roots = [self._read(ROOT, version) for version in range(first, self._root.version + 1)]
        return replace(
            candidate,
            roots=tuple(roots) or candidate.roots,
            roles={**candidate.roles, **{role: self._read(role, version) for role, version in roles.items()}},
            log_from=lacking.log_from,
            log_proof=self._prove_growth(lacking.log_from),
        )

    def _read(self, role: str, version: int) -> bytes:
        path = metadata_path(role, version)
        if role == ROOT and self._draft.root is not None and version == self._root.version:
            return self._draft.root
        data = self._draft.files.get(path) or self._published.read(path)
        if data is None:
            raise SignerRefused(
                "a witness asks for what was never published here",
                subject=path,
                rule="witness-lacks",
                expected="a file",
            )
        return data

    def _prove_growth(self, old_size: int) -> tuple[Hash, ...]:
        head: LogHead | None = self._stamp.log
        if head is None or old_size >= head.size:
            return ()
        ranges = consistency_ranges(old_size, head.size)
        files: dict[Tile, bytes] = {}
        for tile in tiles_needed(ranges, head.size):
            name = f"{LOG}/{tile.path}"
            data = self._draft.files.get(name) or self._published.read(name)
            if data is None:
                raise SignerRefused("a tile of the log is gone", subject=name, rule="log-edge")
            files[tile] = data
        return prove(ranges, head.size, files)

    # --- the answers --------------------------------------------------------------------------------------

    def _accept(self, verdict: Verdict, snapshot_signatures: Sequence[Signature] = ()) -> Verdict:
        """A yes counts only when every signature in it verifies.

        ``snapshot_signatures``: of all witnesses, in the second round; without them each can foresee its own only.
        """
        given = verdict.cosignatures
        if given is None:
            return verdict
        wanted = [(role, given.roles.get(role), payload) for role, payload in self._payloads.items()]
        if snapshot_signatures or self._needed == 1:
            own = given.roles.get(SNAPSHOT)
            _, _, payload = self._timestamp_after(snapshot_signatures or ([own] if own else []))
            wanted.append((TIMESTAMP, given.timestamp, payload))
        for role, signature, payload in wanted:
            if signature is None or not _verifies(signature, payload, self._witness_keys(role)):
                error = VerificationFailed(
                    "the witness's signature does not verify",
                    subject=f"{verdict.name}: {role}",
                    rule="witness-answer",
                    found="none" if signature is None else signature.keyid,
                    next_step="run the same release of Assay on the index and on its witnesses",
                )
                return Verdict(verdict.name, None, error)
        return verdict

    def _witness_keys(self, role: str) -> dict[str, Key]:
        """The keys of ``role`` that are not the index's own."""
        if role in (SNAPSHOT, TIMESTAMP):
            known, keyids = self._root.keys, self._root.roles[role].keyids
            own = self._keys.snapshot if role == SNAPSHOT else self._keys.timestamp
        else:
            known = self._bins.delegations.keys if self._bins.delegations else {}
            keyids, own = succinct_roles(self._bins).keyids, self._keys.bin
        return {keyid: known[keyid] for keyid in keyids if keyid != own.public_key.keyid}


def witness_keyids(root: Root, bins: Targets, keys: OnlineKeys) -> frozenset[str]:
    """The keys of online roles that are not the index's own."""
    named = {*root.roles[TIMESTAMP].keyids, *root.roles[SNAPSHOT].keyids, *succinct_roles(bins).keyids}
    return frozenset(named - {signer.public_key.keyid for signer in (keys.timestamp, keys.snapshot, keys.bin)})


def pinned_claims(changed: ClaimsDraft, claims: PublishedClaims) -> dict[str, bytes]:
    """The developers' roles that only online keys delegate to: the snapshot holds them by their hash."""
    pins = {}
    for role, files in changed.files.items():
        project = ProjectName(role.removeprefix(CLAIM_PREFIX))
        found = claims.find(project)
        if project not in changed.settled and (found is None or not found.is_settled):
            pins[role] = files[max(files)]
    return pins


def cosignatures_needed(root: Root, bins: Targets) -> int:
    """How many signatures beside the index's own the online roles need."""
    thresholds = [root.roles[TIMESTAMP].threshold, root.roles[SNAPSHOT].threshold, succinct_roles(bins).threshold]
    return max(thresholds) - 1


def _changed_roles(draft: Draft, offline: OfflineRoles) -> dict[str, bytes]:
    roles = {role: draft.files[metadata_path(role, body.version)] for role, body in draft.bins.items()}
    claims = {role: files[max(files)] for role, files in draft.claims.files.items()}
    return {**roles, **offline.files, **claims}


def _verifies(signature: Signature, payload: bytes, keys: Mapping[str, Key]) -> bool:
    key = keys.get(signature.keyid)
    if key is None:
        return False
    try:
        key.verify_signature(signature, payload)
    except UnverifiedSignatureError:
        return False
    return True


def _enough(verdicts: list[Verdict], needed: int) -> list[Cosignatures]:
    """The first ``needed`` yeses. Raises WitnessRefused when everybody refused, Unreachable when some were silent."""
    given = [verdict.cosignatures for verdict in verdicts if verdict.cosignatures is not None]
    if len(given) >= needed:
        return given[:needed]
    errors: list[AssayError] = [verdict.error for verdict in verdicts if verdict.error is not None]
    if all(verdict.is_refusal for verdict in verdicts) and errors:
        raise errors[0]
    said = "; ".join(f"{verdict.name}: {verdict.error}" for verdict in verdicts if verdict.error is not None)
    raise WitnessesSilent(
        "too few witnesses co-sign; nothing is published until they do",
        expected=f"{needed}",
        found=f"{len(given)} ({said})"[:800],
    )
