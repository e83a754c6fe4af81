"""The signer's process: ``python -m assay.index.signer DATA``, started by ``assay serve``."""

import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from assay.index.children import read_secrets
from assay.index.config import DataFolder, load_config
from assay.index.ledger import Ledger
from assay.index.signer.house import open_publisher
from assay.index.signer.online import Keyring
from assay.index.signer.process import Announcer, run_signer
from assay.index.upkeep.reserve import Reserve
from assay.model.errors import AssayError


def main() -> int:
    """Run until SIGTERM, or until the supervisor is gone."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    passphrase: str | None = read_secrets()["passphrase"]
    data = DataFolder(Path(sys.argv[1]))
    config = load_config(data.config_file)
    try:
        keyring = Keyring(data.keys, passphrase, config.keys.uris())
        reserve = Reserve(data.reserve)
        publisher = reserve.with_room(lambda: open_publisher(data, config, keyring, Ledger.open(data.ledger_file)))
        announcer = Announcer(data.socket)
        run_signer(publisher, announcer, lambda: datetime.now(UTC), stopping.is_set, keyring.promote, reserve)
        announcer.close()
    except AssayError as error:
        print(f"assay signer: {error} [{error.rule}]", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
