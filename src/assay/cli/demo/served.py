"""A real ``assay serve`` in a process of its own."""

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from assay.cli.demo.programs import ASSAY, Person
from assay.model.errors import OperatorError

START_TIMEOUT_S: Final = 60
STOP_TIMEOUT_S: Final = 30


@dataclass(frozen=True, slots=True)
class ServedIndex:
    """A running index. ``data`` is its data folder, ``url`` ends with a slash, ``log`` holds what it printed."""

    process: "subprocess.Popen[bytes]"
    data: Path
    url: str
    fingerprint: str
    admin_token: str | None
    log: Path

    @property
    def upload_url(self) -> str:
        """Where twine sends files."""
        return f"{self.url}legacy/"

    @property
    def simple_url(self) -> str:
        """Where a plain installer looks."""
        return f"{self.url}simple/"

    def child_pid(self, module: str) -> int:
        """The process id of ``assay.index.<module>`` of this index. Raises OperatorError when it does not run."""
        ps = ["ps", "-axww", "-o", "pid=,ppid=,command="]
        listing = subprocess.run(ps, capture_output=True, text=True, check=True)
        for line in listing.stdout.splitlines():
            pid, parent, command = line.split(maxsplit=2)
            if int(parent) == self.process.pid and f"assay.index.{module}" in command:
                return int(pid)
        raise OperatorError("this process of the index does not run", subject=module)


@dataclass(frozen=True, slots=True)
class Starting:
    """An index that was started and may not answer yet."""

    process: "subprocess.Popen[bytes]"
    data: Path
    printed: Path
    log: Path

    def wait(self) -> ServedIndex:
        """Wait until it answers. Raises OperatorError with its last words."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            text = self.printed.read_text(encoding="utf-8")
            if text.endswith("\n"):
                said = json.loads(text)
                token = said.get("admin_token")
                return ServedIndex(self.process, self.data, said["url"], said["fingerprint"], token, self.log)
            time.sleep(0.02)
        self.stop()
        raise OperatorError(
            "the index did not start",
            subject=str(self.data),
            found=self.log.read_text(encoding="utf-8", errors="replace")[-500:].strip(),
        )

    def stop(self) -> int:
        """End it, if it runs, and wait for its end; returns its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()


def start_serving(operator: Person, data: Path, options: Sequence[str], config: str = "") -> Starting:
    """Start ``assay serve --data DATA OPTIONS`` on a free port. ``config``: the text of its ``config.toml``."""
    data.mkdir(parents=True, exist_ok=True)
    operator.folder.mkdir(parents=True, exist_ok=True)
    if config:
        (data / "config.toml").write_text(config, encoding="utf-8")
    printed, log = data.with_suffix(".out"), data.with_suffix(".log")
    command = [*ASSAY, "serve", "--data", str(data), "--port", "0", "--json", *options]
    with printed.open("wb") as out, log.open("ab") as err:
        process = subprocess.Popen(
            command,
            env=operator.environ(),
            cwd=operator.folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    return Starting(process, data, printed, log)
