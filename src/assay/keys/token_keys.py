"""Keys inside PKCS#11 tokens: sign with one, read its public half, make one that never leaves the token.

ECDSA P-256 and P-384 work on every token that matters; Ed25519 where the module has it.
"""

import hashlib

import pkcs11
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters
from securesystemslib.signer import Key, SecretsHandler, Signature, Signer, SSlibKey

from assay.keys.files import Scheme
from assay.keys.passphrase import SecretsProvider
from assay.keys.tokens import (
    TokenKey,
    TokenSession,
    find_token,
    module_lock,
    parse_token_uri,
    session_of,
    token_errors,
)
from assay.model.errors import AlreadyExists, KeyUnavailable

_CURVES = {Scheme.P256: "secp256r1", Scheme.P384: "secp384r1"}
_ECDSA_HASH = {Scheme.P256.value: hashlib.sha256, Scheme.P384.value: hashlib.sha384}
_EDWARDS25519 = b"\x13\x0cedwards25519"
"""CKA_EC_PARAMS as a PrintableString (PKCS#11 v3.0 section 2.3.10)."""
_ED25519_BYTES = 32


class TokenSigner(Signer):
    """Signs with one key of a token through a shared session. Safe for threads; the key's handle is looked up once."""

    SCHEME = "hsm"

    def __init__(self, token: TokenKey, public_key: SSlibKey, session: TokenSession) -> None:
        self._token = token
        self._public_key = public_key
        self._session = session
        self._found: tuple[pkcs11.Session, pkcs11.SignMixin] | None = None

    @property
    def public_key(self) -> SSlibKey:
        """The key that signs."""
        return self._public_key

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> "TokenSigner":
        """securesystemslib's constructor. Raises KeyUnavailable."""
        if secrets_handler is None:
            raise KeyUnavailable("a token needs a PIN and nobody can give it", subject=priv_key_uri)
        return open_token_signer(parse_token_uri(priv_key_uri), public_key, secrets_handler)

    def sign(self, payload: bytes) -> Signature:
        """One signature (ECDSA as DER, as TUF 1.0.34 wants it; Ed25519 raw). Raises KeyUnavailable."""
        raw = self._session.call(lambda session: self._sign_on(session, payload))
        if self._public_key.scheme in _ECDSA_HASH:
            half = len(raw) // 2
            raw = encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
        return Signature(self._public_key.keyid, raw.hex())

    def _sign_on(self, session: pkcs11.Session, payload: bytes) -> bytes:
        key = self._key_on(session)
        hasher = _ECDSA_HASH.get(self._public_key.scheme)
        if hasher is None:
            return key.sign(payload, mechanism=pkcs11.Mechanism.EDDSA)
        return key.sign(hasher(payload).digest(), mechanism=pkcs11.Mechanism.ECDSA)

    def _key_on(self, session: pkcs11.Session) -> pkcs11.SignMixin:
        if self._found is None or self._found[0] is not session:
            key = session.get_key(pkcs11.ObjectClass.PRIVATE_KEY, id=self._token.id_bytes)
            if not isinstance(key, pkcs11.SignMixin):
                raise KeyUnavailable("this key of the token may not sign", subject=self._token.uri)
            self._found = session, key
        return self._found[1]


def open_token_signer(token: TokenKey, public_key: Key, secrets: SecretsProvider) -> TokenSigner:
    """The signer of ``public_key`` on ``token``. Raises KeyUnavailable when the token holds another key there."""
    if not isinstance(public_key, SSlibKey):
        raise KeyUnavailable("not a kind of key that signs here", subject=token.uri, found=public_key.keytype)
    session = session_of(token, secrets)
    found = session.call(lambda opened: _public_key_on(opened, token))
    if (found.scheme, found.keyval) != (public_key.scheme, public_key.keyval):
        raise KeyUnavailable(
            "this is another key than the one trusted",
            rule="key-mismatch",
            subject=token.uri,
            expected=public_key.keyid,
            found=found.keyid,
        )
    return TokenSigner(token, public_key, session)


def read_token_key(token: TokenKey, secrets: SecretsProvider) -> SSlibKey:
    """The public key of ``token``. Raises KeyUnavailable."""
    return session_of(token, secrets).call(lambda session: _public_key_on(session, token))


def create_token_key(token: TokenKey, scheme: Scheme, secrets: SecretsProvider, name: str = "assay") -> SSlibKey:
    """Make a key inside ``token``: sensitive, not extractable, never seen by this machine. Returns its public key.

    Raises AlreadyExists when the token has a key of that number, KeyUnavailable when it cannot make one.
    """
    with module_lock(token.module), token_errors(token):
        session_of(token, secrets).close()
        with find_token(token).open(rw=True, user_pin=secrets("pin")) as session:
            if any(session.get_objects({pkcs11.Attribute.ID: token.id_bytes})):
                raise AlreadyExists(
                    "the token has a key of this number; it is never overwritten",
                    subject=token.uri,
                    next_step="leave --create out if it is the key that you made before; else name another number",
                )
            private = {
                pkcs11.Attribute.TOKEN: True,
                pkcs11.Attribute.PRIVATE: True,
                pkcs11.Attribute.SENSITIVE: True,
                pkcs11.Attribute.EXTRACTABLE: False,
            }
            kind, parameters = _curve_parameters(scheme)
            domain = session.create_domain_parameters(kind, {pkcs11.Attribute.EC_PARAMS: parameters}, local=True)
            domain.generate_keypair(id=token.id_bytes, label=name, store=True, private_template=private)
            return _public_key_on(session, token)


def token_facts(token: TokenKey, secrets: SecretsProvider) -> dict[str, str | bool]:
    """What the token says of itself and of its key: maker, model, serial, and whether the key was made in it and cannot
    leave it. It is the token's word (through its module), not a proof; see ``assay.keys.attestation`` for one.
    """

    def read(session: pkcs11.Session) -> dict[str, str | bool]:
        key = session.get_key(pkcs11.ObjectClass.PRIVATE_KEY, id=token.id_bytes)
        flags = {
            "made_inside": pkcs11.Attribute.LOCAL,
            "sensitive": pkcs11.Attribute.ALWAYS_SENSITIVE,
            "never_extractable": pkcs11.Attribute.NEVER_EXTRACTABLE,
        }
        found = session.token
        facts: dict[str, str | bool] = {name: bool(key[flag]) for name, flag in flags.items()}
        return facts | {
            "maker": found.manufacturer_id,
            "model": found.model,
            "serial": found.serial.decode("ascii", "replace"),
        }

    return session_of(token, secrets).call(read)


def _public_key_on(session: pkcs11.Session, token: TokenKey) -> SSlibKey:
    key = session.get_key(pkcs11.ObjectClass.PUBLIC_KEY, id=token.id_bytes)
    if not isinstance(key, pkcs11.PublicKey):
        raise KeyUnavailable("not a public key", subject=token.uri)
    loaded: PublicKeyTypes
    try:
        if key.key_type == pkcs11.KeyType.EC_EDWARDS:
            loaded = Ed25519PublicKey.from_public_bytes(_edwards_point(key))
        else:
            loaded = load_der_public_key(encode_ec_public_key(key))
        return SSlibKey.from_crypto(loaded)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyUnavailable("not a kind of key that is used here", subject=token.uri, found=str(error)) from error


def _curve_parameters(scheme: Scheme) -> tuple[pkcs11.KeyType, bytes]:
    if scheme in _CURVES:
        return pkcs11.KeyType.EC, encode_named_curve_parameters(_CURVES[scheme])
    if scheme is Scheme.ED25519:
        return pkcs11.KeyType.EC_EDWARDS, _EDWARDS25519
    raise KeyUnavailable("tokens make no key of this scheme yet", subject=scheme.value)


def _edwards_point(key: pkcs11.PublicKey) -> bytes:
    """The raw point: some modules wrap it in an OCTET STRING, some do not."""
    point = bytes(key[pkcs11.Attribute.EC_POINT])
    return point[2:] if len(point) == _ED25519_BYTES + 2 else point
