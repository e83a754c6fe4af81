"""The address of claims over a real socket: who may ask, what is bounded, what is answered."""

import http.client

import pytest

from e2e.house import House

pytestmark = pytest.mark.e2e


def post(house: House, path: str, body: bytes, method: str = "POST", token: str | None = None) -> tuple[int, str]:
    host = house.index.url.removeprefix("http://").rstrip("/")
    connection = http.client.HTTPConnection(host, timeout=60)
    headers = {"Authorization": f"Bearer {token or house.token}"}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    said = answer.read().decode()
    connection.close()
    return answer.status, said


def test_what_the_address_of_claims_refuses(house: House) -> None:
    assert post(house, "/claims/demo", b"", method="GET")[0] == 405
    assert post(house, "/claims/demo", b"{}", token="assay_nonsense")[0] == 403
    assert post(house, "/claims/", b"{}")[0] == 404
    assert post(house, "/claims/demo", b"\xff\xfe")[0] == 400
    assert post(house, "/claims/demo", b"x" * 2_000_001)[0] == 413
    status, said = post(house, "/claims/demo", b'{"signed": {}, "signatures": []}')
    assert (status, "malformed" in said) == (500, True)
