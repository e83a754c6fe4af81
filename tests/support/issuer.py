"""An OpenID Connect issuer on loopback, as a CI system runs one: real keys, real HTTP, tokens with any claims.

It also answers as GitHub's runner does: ``ACTIONS_ID_TOKEN_REQUEST_URL`` gives a token for any audience.
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

REQUEST_TOKEN = "the-runner-may-ask"
GITHUB_CLAIMS = {
    "sub": "repo:octo/demo:environment:release",
    "repository": "octo/demo",
    "repository_id": "11",
    "repository_owner_id": "7",
    "job_workflow_ref": "octo/demo/.github/workflows/release.yml@refs/tags/v1",
    "ref": "refs/tags/v1",
    "sha": "a" * 40,
    "environment": "release",
    "run_id": "4711",
}


@dataclass
class Issuer:
    """``claims``: what the runner's tokens say. ``asked``: the paths that were asked for."""

    url: str = ""
    claims: dict[str, Any] = field(default_factory=lambda: dict(GITHUB_CLAIMS))
    asked: list[str] = field(default_factory=list)
    rsa_key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    ec_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    serial: int = 0

    def sign(
        self, audience: object, *, alg: str = "RS256", kid: str | None = None, key: Any = None, **claims: Any
    ) -> str:
        """A token for ``audience``; ``claims`` replace others, and None leaves one out."""
        self.serial += 1
        now = time.time()
        named: dict[str, Any] = {"iss": self.url, "aud": audience, "iat": now, "nbf": now - 5, "exp": now + 300}
        named |= {"jti": f"token-{self.serial}", **self.claims, **claims}
        found = {name: value for name, value in named.items() if value is not None}
        signing = key if key is not None else self.rsa_key if alg.startswith(("RS", "PS")) else self.ec_key
        headers = {"kid": kid or ("rsa" if alg.startswith(("RS", "PS")) else "ec")}
        return jwt.encode(found, signing, algorithm=alg, headers=headers)

    def keys(self) -> list[dict[str, Any]]:
        rsa_jwk = RSAAlgorithm.to_jwk(self.rsa_key.public_key(), as_dict=True)
        ec_jwk = ECAlgorithm.to_jwk(self.ec_key.public_key(), as_dict=True)
        secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "secret", "alg": "HS256"}
        return [{**rsa_jwk, "kid": "rsa", "use": "sig"}, {**ec_jwk, "kid": "ec", "use": "sig"}, secret]

    def answer(self, path: str, authorization: str | None) -> Mapping[str, Any] | None:
        parts = urlsplit(path)
        self.asked.append(parts.path)
        match parts.path:
            case "/.well-known/openid-configuration":
                return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
            case "/keys":
                return {"keys": self.keys()}
            case "/runner" if (authorization or "").lower() == f"bearer {REQUEST_TOKEN}":
                return {"value": self.sign(parse_qs(parts.query)["audience"][0])}
        return None

    @property
    def runner(self) -> dict[str, str]:
        """The environment of a GitHub Actions job with the permission ``id-token: write``."""
        return {
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.url}/runner?api-version=2",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": REQUEST_TOKEN,
        }


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = issuer.answer(self.path, self.headers.get("Authorization"))
            body = json.dumps(found).encode()
            self.send_response(200 if found is not None else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
