"""A folder in which a change of ``targets`` travels to its holders and back: for seals, takedowns and claims.

``current/`` holds the roles that the change starts from, ``signed/`` the new ones. Holders add their signatures one
after the other, on different days and machines; whoever signs first checks that the change starts from roles which the
root vouches for. Nothing here needs the index.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from securesystemslib.signer import Key, Signer
from tuf.api.metadata import Root, Targets

from assay import durable
from assay.keys.custody import key_file_uri, open_signer, sign_bytes
from assay.keys.files import read_private_file
from assay.keys.passphrase import SecretsProvider
from assay.model.digests import sha256_of
from assay.model.errors import AlreadyExists, CallerError, KeyUnavailable
from assay.trust import canonical
from assay.trust.envelope import assemble, parse_envelope
from assay.trust.layout import ROOT, TARGETS
from assay.trust.verify import require_role_signed

FORMAT = "assay-offline-draft/1"


@dataclass(frozen=True, slots=True)
class OfflineDraft:
    """A draft at ``folder``."""

    folder: Path

    @classmethod
    def create(cls, folder: Path, kind: str, current: Mapping[str, bytes], facts: Mapping[str, Any]) -> "OfflineDraft":
        """A new draft of ``kind`` that starts from ``current`` (role -> file; root and targets among them)."""
        if folder.exists():
            raise AlreadyExists("a draft must be a new folder", subject=str(folder))
        durable.write_files({folder / "current" / f"{role}.json": data for role, data in current.items()})
        plan = {"format": FORMAT, "kind": kind, **facts}
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
        """Add a new role, signed by ``signers``; not durable until the next ``cosign``."""
        document = signed.to_dict()
        payload = canonical.encode(document)
        path = self.folder / "signed" / f"{signed.version}.{role}.json"
        durable.make_folder(path.parent)
        durable.replace_file(path, assemble(document, [sign_bytes(signer, payload) for signer in signers]))

    def cosign(self, key: str, secrets: SecretsProvider, roles: Sequence[str] = (TARGETS,)) -> str:
        """Sign ``roles`` with the holder's key at ``key`` (a path or a key URI); returns the key's id.

        Raises KeyUnavailable when the root names no such key for ``targets``.
        """
        signer = self._holder(key, secrets)
        for role in roles:
            path = self._signed_path(role)
            envelope = parse_envelope(path.read_bytes(), Targets, role)
            signatures = {**envelope.signatures, signer.public_key.keyid: sign_bytes(signer, envelope.payload)}
            durable.write_file(path, assemble(orjson.loads(envelope.data)["signed"], list(signatures.values())))
        return signer.public_key.keyid

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


def key_uri(key: str) -> str:
    """The URI of ``key``, which is one already or the path of a key file. Raises KeyUnavailable."""
    if ":" in key:
        return key
    path = Path(key)
    return key_file_uri(path, encrypted=b"ENCRYPTED PRIVATE KEY" in read_private_file(path))
