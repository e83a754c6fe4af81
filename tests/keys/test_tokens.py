"""Keys in PKCS#11 tokens: made inside, never out; one session for many signatures; wrong PINs not repeated."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from securesystemslib.signer import HSMSigner, SSlibKey

from assay.keys.custody import open_signer, sign_bytes
from assay.keys.files import Scheme
from assay.keys.token_keys import create_token_key, read_token_key, token_facts
from assay.keys.tokens import TokenKey, parse_token_uri, session_of
from assay.model.errors import AlreadyExists, KeyUnavailable
from keys.softhsm import PIN, SoftTokens, softhsm_module

SCHEMES = [Scheme.P256, Scheme.P384, Scheme.ED25519]


def pin(_name: str) -> str:
    return PIN


@pytest.fixture(scope="module", autouse=True)
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftTokens]:
    home = SoftTokens(tmp_path_factory.mktemp("holder"))
    for label in ("alpha", "beta"):
        home.make(label)
    with pytest.MonkeyPatch.context() as environment:
        for name, value in home.environ.items():
            environment.setenv(name, value)
        yield home


@pytest.fixture(scope="module")
def made(tokens: SoftTokens) -> dict[Scheme, tuple[TokenKey, SSlibKey]]:
    keys = {}
    for number, scheme in enumerate(SCHEMES, 10):
        token = TokenKey(softhsm_module(), "alpha", number)
        keys[scheme] = token, create_token_key(token, scheme, pin)
    return keys


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_token_signs_with_a_key_it_made(made: dict[Scheme, tuple[TokenKey, SSlibKey]], scheme: Scheme) -> None:
    token, public = made[scheme]

    signature = sign_bytes(open_signer(token.uri, public, pin), b"payload")

    assert public.scheme == scheme.value
    public.verify_signature(signature, b"payload")
    assert read_token_key(token, pin) == public


def test_the_token_says_that_the_key_cannot_leave_it(made: dict[Scheme, tuple[TokenKey, SSlibKey]]) -> None:
    facts = token_facts(made[Scheme.P256][0], pin)
    assert facts["made_inside"]
    assert facts["sensitive"]
    assert facts["never_extractable"]
    assert "SoftHSM" in str(facts["model"])


def test_a_key_number_is_not_used_twice(made: dict[Scheme, tuple[TokenKey, SSlibKey]]) -> None:
    token, public = made[Scheme.P256]
    with pytest.raises(AlreadyExists):
        create_token_key(token, Scheme.P256, pin)
    assert read_token_key(token, pin) == public


def test_another_key_than_the_trusted_one_is_refused(made: dict[Scheme, tuple[TokenKey, SSlibKey]]) -> None:
    with pytest.raises(KeyUnavailable, match="another key"):
        open_signer(made[Scheme.P256][0].uri, made[Scheme.P384][1], pin)


def test_a_wrong_pin_is_tried_once_and_the_right_one_works_afterwards(tokens: SoftTokens) -> None:
    token = TokenKey(softhsm_module(), "beta", 3)
    asked: list[str] = []

    def wrong(name: str) -> str:
        asked.append(name)
        return "000000"

    with pytest.raises(KeyUnavailable, match="PIN is wrong") as caught:
        read_token_key(token, wrong)
    assert asked == ["pin"]
    assert "000000" not in str(caught.value)
    assert create_token_key(token, Scheme.P256, pin) == read_token_key(token, pin)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("hsm:2?label=nobody", "no such token"),
        ("hsm:99?label=alpha", "no such key"),
        ("hsm:2", "more than one token"),
        ("hsm:x?label=alpha", "not a token's URI"),
        ("hsm:2?colour=red", "not a token's URI"),
        ("hsm:2?module=relative.so", "absolute path"),
        ("hsm:2?label=alpha&module=/nonexistent.so", "no such PKCS#11 module"),
    ],
)
def test_what_is_not_there_is_said(made: dict[Scheme, tuple[TokenKey, SSlibKey]], uri: str, reason: str) -> None:
    with pytest.raises(KeyUnavailable, match=reason):
        open_signer(uri, made[Scheme.P256][1], pin)


def test_a_uri_without_a_module_needs_the_variable() -> None:
    assert parse_token_uri("hsm:", {"PYKCS11LIB": "/m.so"}) == TokenKey(Path("/m.so"), None, 2)
    with pytest.raises(KeyUnavailable, match="no PKCS#11 module"):
        parse_token_uri("hsm:2", {})


def test_uris_are_those_of_securesystemslib(made: dict[Scheme, tuple[TokenKey, SSlibKey]]) -> None:
    token, public = made[Scheme.P256]
    theirs = HSMSigner.from_priv_key_uri(token.uri, public, pin)
    assert (theirs.hsm_keyid, theirs.token_label) == (token.number, token.label)
    assert parse_token_uri(token.uri, {}) == token


def test_threads_share_one_session(made: dict[Scheme, tuple[TokenKey, SSlibKey]]) -> None:
    token, public = made[Scheme.P256]
    asked: list[str] = []

    def counted(name: str) -> str:
        asked.append(name)
        return PIN

    session_of(token, counted).close()
    signer = open_signer(token.uri, public, counted)
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            for round_ in range(25):
                sign_bytes(signer, f"{number}/{round_}".encode())
        except Exception as error:  # noqa: BLE001  (reported below, from the main thread)
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert asked == ["pin"]


def test_a_lost_session_is_opened_again(made: dict[Scheme, tuple[TokenKey, SSlibKey]]) -> None:
    token, public = made[Scheme.P384]
    signer = open_signer(token.uri, public, pin)
    sign_bytes(signer, b"before")
    session_of(token, pin).close()  # as when the token is pulled and plugged in again
    public.verify_signature(sign_bytes(signer, b"after"), b"after")


def test_a_session_is_not_used_after_a_fork(made: dict[Scheme, tuple[TokenKey, SSlibKey]]) -> None:
    token, public = made[Scheme.P256]
    signer = open_signer(token.uri, public, pin)
    sign_bytes(signer, b"parent")
    child = os.fork()
    if child == 0:
        try:
            signer.sign(b"child")
        except KeyUnavailable:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_signature_takes_well_under_a_millisecond(made: dict[Scheme, tuple[TokenKey, SSlibKey]]) -> None:
    token, public = made[Scheme.P256]
    signer = open_signer(token.uri, public, pin)
    signer.sign(b"warm")
    best = min(_seconds(lambda: [signer.sign(b"x") for _ in range(50)]) for _ in range(5)) / 50
    assert best < 0.001


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
