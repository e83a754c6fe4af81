"""A folder in which a change of ``targets`` travels to its holders and back: for seals, takedowns and claims.

``current/`` holds the roles that the change starts from, ``signed/`` the new ones. Holders add their signatures one
after the other, on different days and machines. Nothing here needs the index.

Invariant: nobody signs what lies in ``signed/``. Each holder's machine works the new roles out by itself, from the
present ones and the plan that the holder reads; a file there that says anything else is refused.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Key, Signature, Signer
from tuf.api.metadata import Root, Targets

from assay import durable
from assay.keys.custody import key_file_uri, open_signer, sign_bytes
from assay.keys.files import read_private_file
from assay.keys.passphrase import SecretsProvider
from assay.model.digests import sha256_of
from assay.model.errors import AlreadyExists, CallerError, KeyUnavailable, NotFresh, VerificationFailed
from assay.trust import canonical
from assay.trust.envelope import Envelope, assemble, parse_envelope
from assay.trust.layout import ROOT, TARGETS
from assay.trust.verify import require_role_signed

FORMAT = "assay-offline-draft/2"
MAX_AGE = timedelta(days=60)
CLOCK_TOLERANCE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class OfflineDraft:
    """A draft at ``folder``."""

    folder: Path

    @classmethod
    def create(
        cls, folder: Path, kind: str, current: Mapping[str, bytes], facts: Mapping[str, Any], now: datetime
    ) -> "OfflineDraft":
        """A new draft of ``kind`` that starts from ``current`` (role -> file; root and targets among them)."""
        if folder.exists():
            raise AlreadyExists("a draft must be a new folder", subject=str(folder))
        durable.write_files({folder / "current" / f"{role}.json": data for role, data in current.items()})
        plan = {"format": FORMAT, "kind": kind, "made": now.replace(microsecond=0).isoformat(), **facts}
        durable.write_file(folder / "plan.json", json.dumps(plan, indent=1, sort_keys=True).encode())
        return cls(folder)

    def plan(self, kind: str) -> dict[str, Any]:
        """The plan. Raises CallerError when this is no draft of ``kind``."""
        try:
            plan: dict[str, Any] = json.loads((self.folder / "plan.json").read_bytes())
        except (OSError, ValueError) as error:
            raise CallerError("no draft in this folder", subject=str(self.folder), found=str(error)) from error
        if plan.get("format") != FORMAT or plan.get("kind") != kind:
            raise CallerError(
                "not a draft of this kind", subject=str(self.folder), expected=kind, found=str(plan.get("kind"))
            )
        return plan

    def current_root(self) -> Root:
        """The root that the draft starts from; verified by itself only: compare its fingerprint."""
        envelope = parse_envelope(self._read("current/root.json"), Root, ROOT)
        require_role_signed(envelope.signed, ROOT, envelope)
        return envelope.signed

    def root_fingerprint(self) -> str:
        """sha256 of the root that the draft starts from."""
        return sha256_of(self._read("current/root.json"))

    def current(self, role: str, delegator: Root | Targets) -> Targets:
        """A role that the draft starts from, checked against its ``delegator``. Raises VerificationFailed."""
        envelope = parse_envelope(self._read(f"current/{role}.json"), Targets, role)
        require_role_signed(delegator, role, envelope)
        return envelope.signed

    def current_file(self, role: str) -> bytes:
        """The file of a role that the draft starts from, not checked. Raises CallerError."""
        return self._read(f"current/{role}.json")

    def put(self, role: str, signed: Targets, signers: Sequence[Signer]) -> None:
        """Add a new role, signed by ``signers``; not durable until the next ``sign``."""
        document = signed.to_dict()
        payload = canonical.encode(document)
        path = self._path(role, signed)
        durable.make_folder(path.parent)
        durable.replace_file(path, assemble(document, [sign_bytes(signer, payload) for signer in signers]))

    def made(self, kind: str, now: datetime) -> datetime:
        """When the draft was made, which dates what is signed. Raises NotFresh where that is too long from ``now``."""
        try:
            made = datetime.fromisoformat(self.plan(kind)["made"])
            usable = now - MAX_AGE <= made <= now + CLOCK_TOLERANCE
        except (KeyError, TypeError, ValueError) as error:
            raise CallerError("this draft does not say when it was made", found=str(error)) from error
        if not usable:
            raise NotFresh(
                "the draft is too old, or this machine's clock is wrong",
                subject=str(self.folder),
                rule="draft-age",
                expected=f"made in the {MAX_AGE.days} days before {now:%Y-%m-%d %H:%M} UTC",
                found=f"{made:%Y-%m-%d %H:%M} UTC",
                next_step="set the clock, or plan it again",
            )
        return made

    def sign(self, key: str, secrets: SecretsProvider, bodies: Mapping[str, Targets]) -> str:
        """Sign ``bodies``, which this machine worked out, with the holder's ``key`` (a path or URI); returns its id.

        Raises KeyUnavailable when the root names no such key for ``targets``, VerificationFailed when another holder's
        file says something else.
        """
        signer = self._holder(key, secrets)
        for role, body in bodies.items():
            document = body.to_dict()
            payload, before = canonical.encode(document), dict[str, Signature]()
            path = self._path(role, body)
            if path.exists():
                envelope = parse_envelope(path.read_bytes(), Targets, role)
                if envelope.payload != payload:
                    raise _swapped(role, sha256_of(payload), sha256_of(envelope.payload))
                before = dict(envelope.signatures)
            signatures = {**before, signer.public_key.keyid: sign_bytes(signer, payload)}
            durable.write_file(path, assemble(document, list(signatures.values())))
        return signer.public_key.keyid

    def signed(self, role: str) -> Envelope[Targets]:
        """The new ``role`` as it lies there: signed, if at all, by whomever."""
        return parse_envelope(self._signed_path(role).read_bytes(), Targets, role)

    def require_put(self, role: str, body: Targets, key: Key) -> None:
        """Raise VerificationFailed unless the file of ``role`` is exactly ``body``, signed by ``key``."""
        try:
            envelope = parse_envelope(self._path(role, body).read_bytes(), Targets, role)
            key.verify_signature(envelope.signatures[key.keyid], envelope.payload)
        except (FileNotFoundError, KeyError, UnverifiedSignatureError) as error:
            raise _swapped(role, f"signed by {key.keyid[:16]}", str(error)) from error
        payload = canonical.encode(body.to_dict())
        if envelope.payload != payload:
            raise _swapped(role, sha256_of(payload), sha256_of(envelope.payload))

    def missing_signatures(self, role: str = TARGETS) -> int:
        """How many more holders must sign ``role``."""
        envelope = parse_envelope(self._signed_path(role).read_bytes(), Targets, role)
        root = self.current_root()
        result = root.get_verification_result(TARGETS, envelope.payload, envelope.signatures)
        return max(0, result.threshold - len(result.signed))

    def files(self) -> dict[Path, bytes]:
        """Every new role by file name, ``targets`` last, so that it is there before it is named."""
        paths = sorted(
            (self.folder / "signed").glob("*.json"), key=lambda path: (path.name.endswith(f".{TARGETS}.json"), path)
        )
        return {Path(path.name): path.read_bytes() for path in paths}

    def _path(self, role: str, body: Targets) -> Path:
        return self.folder / "signed" / f"{body.version}.{role}.json"

    def _signed_path(self, role: str) -> Path:
        found = [path for path in (self.folder / "signed").glob(f"*.{role}.json") if path.name.split(".")[1] == role]
        if len(found) != 1:
            raise CallerError("this draft was not signed yet", subject=str(self.folder))
        return found[0]

    def _holder(self, key: str, secrets: SecretsProvider) -> Signer:
        root = self.current_root()
        uri = key_uri(key)
        holders: list[Key] = [root.keys[keyid] for keyid in root.roles[TARGETS].keyids]
        for holder in holders:
            try:
                return open_signer(uri, holder, secrets)
            except KeyUnavailable as error:
                if error.rule != "key-mismatch":
                    raise
        raise KeyUnavailable("the root names no such key for targets", subject=uri, rule="key-not-a-holder")

    def _read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            raise CallerError("this is not in the draft", subject=name) from None


def _swapped(role: str, expected: str, found: str) -> VerificationFailed:
    return VerificationFailed(
        "the draft asks for another signature than this machine worked out from the same plan",
        subject=role,
        rule="draft-swapped",
        expected=expected,
        found=found,
        next_step="sign nothing; find out who held the stick, and look at the index's machine",
    )


def key_uri(key: str) -> str:
    """The URI of ``key``, which is one already or the path of a key file. Raises KeyUnavailable."""
    if ":" in key:
        return key
    path = Path(key)
    return key_file_uri(path, encrypted=b"ENCRYPTED PRIVATE KEY" in read_private_file(path))
