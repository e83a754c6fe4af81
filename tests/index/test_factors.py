"""Second factors: the codes of RFC 6238, each once; passkeys whose counter only grows."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from assay.index.ledger import factors
from assay.index.ledger.factors import FactorKind
from assay.index.ledger.schema import events
from assay.model.errors import AlreadyExists, CallerError, NotAllowed, NotFound
from assay.model.totp import accepted_step, code_at, step_at
from index.ledger_index import LedgerIndex

KEY = b"12345678901234567890"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[LedgerIndex]:
    made = LedgerIndex(tmp_path / "index")
    made.token("alice")
    yield made
    made.ledger.close()


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_the_vectors_of_rfc_6238(seconds: int, code: str) -> None:
    now = datetime.fromtimestamp(seconds, UTC)
    assert code_at(KEY, step_at(now)) == code
    assert accepted_step(KEY, f" {code} ", now, 0) == step_at(now)


def test_a_code_counts_one_step_early_and_late_and_once() -> None:
    now = datetime(2026, 11, 25, tzinfo=UTC)
    step = step_at(now)
    code = code_at(KEY, step)
    for seconds, expected in ((-60, None), (-30, step), (0, step), (30, step), (60, None)):
        assert accepted_step(KEY, code, now + timedelta(seconds=seconds), 0) == expected
    assert accepted_step(KEY, code, now, step) is None
    for wrong in ("", "000000", code[:-1], f"{code}0", "ünïcöd"):
        assert accepted_step(KEY, wrong, now, 0) is None


def test_a_totp_code_is_used_once_and_leaves_no_secret_in_the_log(index: LedgerIndex) -> None:
    with index.write() as connection:
        number = factors.add_totp(connection, "alice", "phone", KEY, "alice", index.now)
        (factor,) = factors.factors_of(connection, "alice")
        code = code_at(KEY, step_at(index.now))
        factors.use_totp(connection, factor, code, index.now)
        for again in (factor, *factors.factors_of(connection, "alice")):
            with pytest.raises(NotAllowed):
                factors.use_totp(connection, again, code, index.now)
        factors.remove_factor(connection, "alice", number, "alice", index.now)
        assert factors.factors_of(connection, "alice") == []
        with pytest.raises(NotFound):
            factors.remove_factor(connection, "alice", number, "alice", index.now)
        kinds = [row.kind for row in connection.execute(select(events.c.kind)) if row.kind.startswith("factor")]
        assert kinds == ["factor-added", "factor-removed"]
        assert KEY.decode() not in repr(connection.execute(select(events)).all())
        assert KEY.decode() not in repr(factor)


def test_a_passkeys_counter_only_grows(index: LedgerIndex) -> None:
    with index.write() as connection:
        factors.add_passkey(connection, "alice", "key ring", b"id-1", b"cose", 7, "alice", index.now)
        factors.add_passkey(connection, "alice", "laptop", b"id-2", b"cose", 0, "alice", index.now)
        with pytest.raises(AlreadyExists):
            factors.add_passkey(connection, "alice", "again", b"id-1", b"cose", 0, "alice", index.now)
        ring, laptop = factors.factors_of(connection, "alice")
        assert (ring.kind, ring.counter) == (FactorKind.PASSKEY, 7)
        for replayed in (7, 6, 0):
            with pytest.raises(NotAllowed):
                factors.advance(connection, ring, replayed, index.now)
        factors.advance(connection, ring, 9, index.now)
        for _ in range(2):
            factors.advance(connection, laptop, 0, index.now)


def test_what_is_no_factor(index: LedgerIndex) -> None:
    with index.write() as connection:
        with pytest.raises(NotFound):
            factors.add_totp(connection, "nobody", "phone", KEY, "boss", index.now)
        for name, key in (("", KEY), ("x" * 61, KEY), ("a\nb", KEY), ("phone", b"short")):
            with pytest.raises(CallerError):
                factors.add_totp(connection, "alice", name, key, "alice", index.now)
        for number in range(factors.MAX_FACTORS_PER_USER):
            factors.add_totp(connection, "alice", f"phone {number}", KEY, "alice", index.now)
        with pytest.raises(CallerError):
            factors.add_totp(connection, "alice", "one more", KEY, "alice", index.now)
