from pathlib import Path

import pytest

from assay.index.ledger import Ledger, accounts
from assay.index.ledger.passwords import is_password, set_password
from assay.model.errors import CallerError, NotFound
from index.ledger_index import START


def test_passwords_are_argon2id_and_only_the_right_one_opens(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    with ledger.write() as connection:
        accounts.create_user(connection, "alice", "test", START)
        accounts.create_user(connection, "bob", "test", START)
        set_password(connection, "alice", "correct horse battery")
        assert accounts.list_users(connection)[0].get("password") is None
        assert is_password(connection, "alice", "correct horse battery")
        tried = [("alice", "wrong horse battery"), ("alice", ""), ("bob", ""), ("nobody", "nobody has this password")]
        assert not any(is_password(connection, user, password) for user, password in tried)
        assert not is_password(connection, "bob", "nobody has this password")
        for short in ("eleven char", "x" * 1_001):
            with pytest.raises(CallerError):
                set_password(connection, "alice", short)
        with pytest.raises(NotFound):
            set_password(connection, "nobody", "correct horse battery")
    ledger.close()
