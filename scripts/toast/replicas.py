"""Several servers of one machine behind HAProxy, with one Postgres: processes on loopback, gone when the block ends."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from toast.data import DataError

REPOSITORY = Path(__file__).parents[2]
PROXY_CONFIG = REPOSITORY / "deploy" / "haproxy" / "haproxy.cfg"
PROGRAM = REPOSITORY / "dist" / "main.js"
PATIENCE = 120
"""Seconds that a process may take to be ready."""


@dataclass
class Replica:
    """One server, which can be ended in every way and started again at the same port."""

    words: list[str]
    port: int
    log: Path
    process: subprocess.Popen | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns at once; see ``wait_until_ready``."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["node", str(PROGRAM), "serve", "--port", str(self.port), *self.words], stdout=log, stderr=log
            )

    def wait_until_ready(self) -> None:
        """Raises DataError when it ends instead, or takes too long."""

        def ready() -> bool:
            if self.process is None or self.process.poll() is not None:
                raise DataError(f"a replica ended: {self.log.read_text()[-2000:]}")
            return answers(f"{self.url}/readyz")

        wait_for(ready, "a replica")

    def end(self, how: signal.Signals) -> int:
        """Send it the signal, and wait until it is gone. Returns its exit status."""
        if self.process is None:
            raise ValueError("a replica that was not started cannot be ended")
        self.process.send_signal(how)
        return self.process.wait(timeout=PATIENCE)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


def wait_for(ready, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        if time.monotonic() > deadline:
            raise DataError(f"{what} was not ready after {PATIENCE} s")
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def replicas_of(model: Path, count: int, words: list[str]) -> Iterator[list[Replica]]:
    """Servers of one model folder, all ready. ``words``: of ``toast-serve serve``, for each of them."""
    if not PROGRAM.is_file():
        raise DataError(f"there is no {PROGRAM}: build the server first (npm run build)")
    with tempfile.TemporaryDirectory(prefix="toast-replicas-") as folder:
        each = [
            Replica(
                ["--model", str(model), "--data-dir", str(Path(folder) / str(number)), *words],
                free_port(),
                Path(folder) / f"{number}.log",
            )
            for number in range(count)
        ]
        try:
            for replica in each:
                replica.start()
            for replica in each:
                replica.wait_until_ready()
            yield each
        finally:
            for replica in each:
                if replica.process is not None and replica.process.poll() is None:
                    replica.end(signal.SIGKILL)


@contextlib.contextmanager
def haproxy_before(replicas: list[Replica], balance: str | None = None) -> Iterator[str]:
    """HAProxy as deploy/ has it. ``balance``: another line of that name, without hashing. Yields its address."""
    program = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise DataError("there is no haproxy here: install it (Debian: apt-get install haproxy)")
    config = PROXY_CONFIG.read_text()
    if balance is not None:
        config = re.sub(r"^  (hash-type|hash-balance-factor) .*\n", "", config, flags=re.MULTILINE)
        config, replaced = re.subn(r"^  balance .*$", f"  balance {balance}", config, flags=re.MULTILINE)
        if replaced != 1:
            raise DataError(f"{PROXY_CONFIG} has {replaced} lines that say how to balance, not one")
    port = free_port()
    names = ("TOAST_1", "TOAST_2", "TOAST_3")
    addresses = {name: f"127.0.0.1:{replica.port}" for name, replica in zip(names, replicas, strict=True)}
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as file:
        file.write(config)
        file.flush()
        process = subprocess.Popen(
            [program, "-f", file.name, "-db"],
            env={**os.environ, **addresses, "TOAST_LISTEN": f"127.0.0.1:{port}"},
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(lambda: answers(f"http://127.0.0.1:{port}/livez"), "HAProxy")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """A Postgres of its own, in a folder that goes with it. Yields its URL."""
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: float(each.parent.name))
    found = [str(folder) for folder in reversed(candidates)]
    initdb = shutil.which("initdb", path=":".join([*found, os.environ.get("PATH", "")]))
    if initdb is None:
        raise DataError("there is no Postgres here: install one (Debian: apt-get install postgresql)")
    # It refuses to run as root.
    user = pwd.getpwnam("nobody") if os.getuid() == 0 else None
    identity = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid}
    with tempfile.TemporaryDirectory(prefix="toast-postgres-") as folder:
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        data = Path(folder) / "data"
        subprocess.run(
            [initdb, "-D", data, "-U", "toast", "-A", "trust", "-E", "UTF8"],
            check=True,
            capture_output=True,
            cwd=folder,
            **identity,
        )
        port = free_port()
        words = ["-D", data, "-p", str(port), "-k", folder, "-c", "listen_addresses=127.0.0.1"]
        server = Path(initdb).with_name("postgres")
        process = subprocess.Popen([server, *words], cwd=folder, stderr=subprocess.DEVNULL, **identity)
        try:
            ready = [Path(initdb).with_name("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
            wait_for(lambda: subprocess.run(ready, check=False).returncode == 0, "Postgres")
            yield f"postgres://toast@127.0.0.1:{port}/postgres"
        finally:
            # Fast shutdown: whoever is still connected is sent away.
            process.send_signal(signal.SIGINT)
            process.wait()
