"""``python bench/witness.py``: what witnesses cost an upload: seconds of one alone, uploads per second of many at once.

Everything on one machine over loopback: an index without witnesses, with one, with two that ask each other. A round
trip to a witness far away comes on top of each publication, not of each upload: a publication takes whatever waits.
"""

import base64
import hashlib
import http.client
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from servers import clean_environment, free_port, wait_for

ALONE, AT_ONCE, CONNECTIONS = 20, 480, 32
PROGRAM = [sys.executable, "-m", "assay"]


def main() -> int:
    """Measure and print."""
    print(f"{'':12}{'one upload alone':>18}{'of it, witness':>16}{'many at once':>16}{'p95 of those':>15}")
    for names in ((), ("w1",), ("w1", "w2")):
        with (
            tempfile.TemporaryDirectory(prefix="assay-bench-") as name,
            index(Path(name), names) as (url, token, witnesses),
        ):
            alone, answers = [], []
            for number in range(ALONE):
                alone.append(upload(url, token, "alone", str(number)))
                answers += [answer_ms(witness) for witness in witnesses[:1]]
            started = time.perf_counter()
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                jobs = [pool.submit(upload, url, token, f"p{number % 50}", str(number)) for number in range(AT_ONCE)]
                each = [job.result() for job in jobs]
            rate = AT_ONCE / (time.perf_counter() - started)
            p95 = statistics.quantiles(each, n=20)[-1]
            label = f"{len(names)} witnesses" if len(names) != 1 else "1 witness"
            answer = f"{statistics.median(answers):.0f} ms" if answers else ""
            print(
                f"{label:12}{statistics.median(alone) * 1000:15.0f} ms{answer:>16}{rate:14.1f}/s{p95 * 1000:12.0f} ms"
            )
    return 0


@contextmanager
def index(folder: Path, names: tuple[str, ...]) -> Iterator[tuple[str, str, list[str]]]:
    """A running index with witnesses called ``names``; its URL, the administrator's token, the witnesses' URLs."""
    environ = clean_environment(folder)
    ports = {name: free_port() for name in names}
    port = free_port()
    keys = {
        name: run(environ, "witness", "init", "--folder", str(folder / name), "--insecure-dev-keys") for name in names
    }
    data, url = ["--data", str(folder / "index")], f"http://127.0.0.1:{port}/"
    witnesses = [
        f"--witness={name}=http://127.0.0.1:{ports[name]}/={folder / name / 'witness-keys.json'}" for name in names
    ]
    made = run(environ, "init", *data, "--insecure-dev-keys", *witnesses)
    with ExitStack() as stack:
        for name in names:
            with (folder / name / "witness.toml").open("a") as file:
                for peer in names:
                    if peer != name:
                        keyids = json.dumps(list(keys[peer]["keys"].values()))
                        file.write(
                            f'\n[[peer]]\nname = "{peer}"\nurl = "http://127.0.0.1:{ports[peer]}"\nkeys = {keyids}\n'
                        )
            where = ["--folder", str(folder / name)]
            command = [*PROGRAM, "witness", "follow", *where, "--index", url, "--fingerprint", made["fingerprint"]]
            subprocess.run(command, check=True, env=environ)
            stack.enter_context(process([*PROGRAM, "witness", "run", *where, "--port", str(ports[name])], environ))
            wait_for(f"http://127.0.0.1:{ports[name]}/")
        serve = [*PROGRAM, "serve", *data, "--port", str(port), "--upstream", "off"]
        stack.enter_context(process(serve, environ))
        wait_for(f"{url}tuf/timestamp.json")
        while not (folder / "index" / "published" / "tuf" / "timestamp.json").exists():
            time.sleep(0.05)
        yield url, made["admin_token"], [f"http://127.0.0.1:{ports[name]}/" for name in names]


def answer_ms(witness: str) -> float:
    """How long the witness's newest answer took, from candidate to durable and signed, its peers asked."""
    with urllib.request.urlopen(witness, timeout=10) as response:
        return float(json.loads(response.read())["answer_ms"])


@contextmanager
def process(command: list[str], environ: dict[str, str]) -> Iterator[None]:
    """A program that runs while the block does."""
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ)
    try:
        yield
    finally:
        running.terminate()
        running.wait(30)


def run(environ: dict[str, str], *arguments: str) -> dict[str, str]:
    """The JSON that a command prints."""
    command = [*PROGRAM, *arguments, "--json"]
    done = subprocess.run(command, check=True, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def upload(url: str, token: str, project: str, version: str) -> float:
    """Upload a small wheel; how long it took until it was installable, in seconds."""
    content = wheel(project, version)
    fields = {
        ":action": "file_upload",
        "protocol_version": "1",
        "metadata_version": "2.1",
        "name": project,
        "version": version,
        "filetype": "bdist_wheel",
        "pyversion": "py3",
        "summary": "small",
        "sha256_digest": hashlib.sha256(content).hexdigest(),
    }
    parts = [f'--x\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields.items()]
    head = f'name="content"; filename="{project}-{version}-py3-none-any.whl"'
    parts.append(f"--x\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n--x--\r\n")
    secret = base64.b64encode(f"__token__:{token}".encode()).decode()
    headers = {"Content-Type": "multipart/form-data; boundary=x", "Authorization": f"Basic {secret}"}
    started = time.perf_counter()
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
    connection.request("POST", "/legacy/", b"".join(parts), headers)
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    if response.status != http.client.OK:
        raise RuntimeError(f"{response.status} {answer[:300]!r}")
    return time.perf_counter() - started


def wheel(project: str, version: str) -> bytes:
    """A wheel with one module."""
    info = f"{project}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\nSummary: small\n".encode()
    members = {
        f"{project}.py": b"VALUE = 1\n",
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for name, data in members.items()
    ]
    members[f"{info}/RECORD"] = "".join([*record, f"{info}/RECORD,,\n"]).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main())
