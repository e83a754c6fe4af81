"""What a step sees of the machine it runs on: the time, who and where, and whether a network is up.

Invariant: it is a value that is read once, at the edge; steps get it as a parameter.
"""

import getpass
import platform
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from assay.model.errors import NotFresh, OperatorError

CLOCK_TOLERANCE = timedelta(minutes=10)
"""How far two honest machines' clocks may be apart."""
_UP = 0x1
_ARPHRD_LOOPBACK = "772"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The machine of one step. ``networks``: interfaces that could reach somebody; ``now`` in UTC, whole seconds."""

    now: datetime
    operator: str
    machine: str
    networks: tuple[str, ...]


def read_surroundings(system: Path = Path("/")) -> Surroundings:
    """Look around. ``system`` is where ``sys/`` lies."""
    try:
        operator = getpass.getuser()
    except (KeyError, OSError):
        operator = "unknown"
    now = datetime.now(UTC).replace(microsecond=0)
    return Surroundings(now, operator, platform.node() or "unnamed", interfaces_up(system / "sys/class/net"))


def interfaces_up(folder: Path) -> tuple[str, ...]:
    """The network interfaces that are up and are not loopback; ``("unknown",)`` where the system does not say."""
    try:
        interfaces = sorted(folder.iterdir())
        return tuple(one.name for one in interfaces if _is_up(one))
    except OSError:
        return ("unknown",)


def _is_up(interface: Path) -> bool:
    if not (interface / "flags").exists():  # /sys/class/net/bonding_masters is a file, not an interface
        return False
    loopback = (interface / "type").read_text().strip() == _ARPHRD_LOOPBACK
    return not loopback and bool(int((interface / "flags").read_text().strip(), 16) & _UP)


def require_no_network(surroundings: Surroundings) -> None:
    """Raise OperatorError when this machine could reach somebody."""
    if surroundings.networks:
        raise OperatorError(
            "this machine has a network",
            rule="ceremony-network",
            expected="no interface up but loopback",
            found=", ".join(surroundings.networks),
            next_step="switch it off (`ip link set <name> down`), or give --allow-network and a reason to be noted",
        )


def require_clock(now: datetime, not_before: datetime, not_after: datetime | None, because: str) -> None:
    """Raise NotFresh unless ``now`` lies between the two, give or take the tolerance; ``because``: whose they are."""
    late = not_after is not None and now > not_after + CLOCK_TOLERANCE
    if late or now < not_before - CLOCK_TOLERANCE:
        until = f" and before {not_after:%Y-%m-%d %H:%M} UTC" if not_after else ""
        raise NotFresh(
            "this machine's clock is wrong, or the ceremony is not now",
            rule="ceremony-clock",
            expected=f"after {not_before:%Y-%m-%d %H:%M} UTC{until} ({because})",
            found=f"{now:%Y-%m-%d %H:%M} UTC",
            next_step="compare with a clock that everybody in the room trusts, and set this machine's",
        )
