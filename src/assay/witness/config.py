"""The folder of a witness and its ``witness.toml``: one frozen value, loaded once, unknown keys refused."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from assay.keys.local import KeyFolder
from assay.settings import read_settings
from assay.trust.witness_memory import RuleLimits
from assay.witness.alarms import AlarmConfig


@dataclass(frozen=True, slots=True)
class RuleConfig:
    """``[rule]``: the longest lifetimes that are co-signed (the index's own); clock tolerance."""

    timestamp_hours: float = 24.0
    bin_days: float = 30.0
    tolerance_s: float = 300.0

    def limits(self) -> RuleLimits:
        """As the rule takes them."""
        return RuleLimits(
            timestamp=timedelta(hours=self.timestamp_hours),
            bin=timedelta(days=self.bin_days),
            tolerance=timedelta(seconds=self.tolerance_s),
        )


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """One ``[[peer]]``: another witness of the same index, its key ids, and where it answers.

    Without ``url`` it is not asked what it was shown, and nothing tells of a split view before it is complete.
    """

    name: str
    keys: tuple[str, ...]
    url: str | None = None


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """``[limits]``: bytes of one candidate, seconds to receive it, seconds to wait for a peer."""

    max_body_bytes: int = 128_000_000
    body_timeout_s: float = 120.0
    peer_timeout_s: float = 2.0


@dataclass(frozen=True, slots=True)
class WitnessConfig:
    """``witness.toml``. ``poll_s``: how often the index is looked at."""

    name: str
    poll_s: float = 30.0
    rule: RuleConfig = field(default_factory=RuleConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    alarm: AlarmConfig = field(default_factory=AlarmConfig)
    peer: tuple[PeerConfig, ...] = ()


@dataclass(frozen=True, slots=True)
class WitnessFolder:
    """The paths of a witness."""

    root: Path

    @property
    def config_file(self) -> Path:
        """The configuration."""
        return self.root / "witness.toml"

    @property
    def database(self) -> Path:
        """The memory."""
        return self.root / "memory" / "witness.db"

    @property
    def keys(self) -> KeyFolder:
        """The private keys."""
        return KeyFolder(self.root / "keys")

    @property
    def unencrypted(self) -> Path:
        """Marks a folder whose keys are meant to be unencrypted."""
        return self.root / "INSECURE-DEV-KEYS"

    @property
    def public_keys(self) -> Path:
        """What the index and the ceremony get."""
        return self.root / "witness-keys.json"

    def load_config(self) -> WitnessConfig:
        """Read ``witness.toml``. Raises OperatorError naming the key."""
        return read_settings(self.config_file, WitnessConfig)
