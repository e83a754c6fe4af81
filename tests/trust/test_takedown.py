"""A file that was taken down is found by nobody, sealed or not, and everything else is."""

from pathlib import Path

from tuf.api.metadata import Targets

from assay.trust.layout import TAKEDOWN, TARGETS, Lifetimes, TargetPath
from assay.trust.takedown import empty_takedown, taken_down, with_takedown
from support.simulator import SIGNERS, AssayClient, Simulator, StockClient, target, verdict

MALWARE = "packages/demo/6.6/demo-6.6-py3-none-any.whl"
GOOD = "packages/demo/6.7/demo-6.7-py3-none-any.whl"


def test_a_takedown_is_honoured_by_stock_clients_and_reverses_nothing_else(tmp_path: Path) -> None:
    index = Simulator()
    index.publish(target(MALWARE, b"bad"), target(GOOD, b"good"))
    clients: list[AssayClient | StockClient] = [
        AssayClient(index.root_bytes()),
        StockClient(index.root_bytes(), tmp_path / "returning"),
    ]
    for client in clients:
        assert verdict(client, index, MALWARE) == target(MALWARE, b"bad").sha256
    top = index.roles[TARGETS]
    assert isinstance(top, Targets)
    keys = [SIGNERS[TARGETS].public_key]
    expires = index.now + Lifetimes().targets
    index.put(TARGETS, with_takedown(top, [TargetPath(MALWARE)], keys, 1, expires))
    index.put(TAKEDOWN, empty_takedown(1, expires), SIGNERS[TARGETS])
    index.seal_off()
    clients += [AssayClient(index.root_bytes()), StockClient(index.root_bytes(), tmp_path / "new")]
    for client in clients:
        assert verdict(client, index, MALWARE) == "none"
        assert verdict(client, index, GOOD) == target(GOOD, b"good").sha256
    top = index.roles[TARGETS]
    assert isinstance(top, Targets)
    assert taken_down(top) == [MALWARE]
