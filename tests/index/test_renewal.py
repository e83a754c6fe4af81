"""Offline roles whose keys lie beside the index are renewed at half of their life, and only then."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tuf.api.metadata import Root, Targets

from assay.keys.local import KeyFolder, hold_local_ceremony
from assay.keys.renewal import renew_offline_roles
from assay.trust.envelope import parse_envelope
from assay.trust.layout import BINS, ROOT, TARGETS, Lifetimes
from assay.trust.verify import TrustedMetadata

NOW = datetime(2026, 11, 23, tzinfo=UTC)
LIFE = Lifetimes()


def test_due_roles_are_renewed_and_verify(tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path / "keys")
    files = hold_local_ceremony(keys, None, NOW, 2, LIFE)
    root = parse_envelope(files[ROOT], Root, ROOT).signed
    current: dict[str, Root | Targets] = {
        ROOT: root,
        TARGETS: parse_envelope(files[TARGETS], Targets, TARGETS).signed,
        BINS: parse_envelope(files[BINS], Targets, BINS).signed,
    }
    assert renew_offline_roles(keys, None, current, NOW + timedelta(days=44), LIFE) == {}
    in_two_months = renew_offline_roles(keys, None, current, NOW + timedelta(days=60), LIFE)
    assert sorted(in_two_months) == [BINS, TARGETS]
    in_a_year = renew_offline_roles(keys, None, current, NOW + timedelta(days=300), LIFE)
    assert in_a_year[ROOT][0] == 2
    trusted = TrustedMetadata(files[ROOT], now=NOW)
    trusted.update_root(in_a_year[ROOT][1])
    assert trusted.root.expires == NOW + timedelta(days=300) + LIFE.root
    (keys.path(TARGETS)).unlink()
    assert sorted(renew_offline_roles(keys, None, current, NOW + timedelta(days=60), LIFE)) == [BINS]
