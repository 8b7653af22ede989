"""The servers that are measured: the hub, the bare handler, nginx, event stores, brokers.

Owns their processes: each runs on the core of the servers, listens on a free
port of 127.0.0.1, and is gone when its `with` ends, or when this process does.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import wire
from benchmarks.machine import cpu_seconds, resident_bytes

START_SECONDS = 300.0
"""How long a server may take to answer: the hub may have to read a log of gigabytes."""

STOP_SECONDS = 10.0

PEER = Path(__file__).parent / "peer"
"""Where the event store that commits are compared with is installed."""

_LOOK_PAUSE = 0.001  # seconds between two looks whether a server answers
_MODULES = (Path("/usr/lib/nginx/modules"), Path("/usr/lib64/nginx/modules"))

_NGINX_CONF = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
error_log {log} warn;
pid {directory}/nginx.pid;
{modules}
events {{ worker_connections {connections}; use epoll; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{http}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = / {{ return 204; }}
{locations}
    }}
}}
"""

_NATS_CONF = """\
listen: "127.0.0.1:{port}"
ping_interval: "1h"
jetstream {{ store_dir: "{directory}/js", max_file_store: 16G
  {sync}
}}
"""


class PeerMissing(Exception):
    """A server to compare with is not installed; the message says how to get it."""


class ServerFailed(Exception):
    """A server ended or did not answer; the message has the end of its log."""


@dataclass(frozen=True)
class Server:
    """A running server. `start_seconds`: from its start until it answered."""

    port: int
    process: int
    start_seconds: float

    def cpu_seconds(self) -> float:
        """Processor time that it has used."""
        return cpu_seconds(self.process)

    def resident_bytes(self) -> int:
        """What it holds in memory."""
        return resident_bytes(self.process)


@contextmanager
def hub(core: int, directory: Path, *options: str) -> Iterator[Server]:
    """A hub over the events directory `directory`, which is made if it is missing."""
    port = _free_port()
    command = [sys.executable, "-m", "hub", "serve", "--port", str(port)]
    command += ["--events", str(directory), *options]
    log = directory.with_suffix(".log")
    with _running(core, command, port, log, wire.request("GET", "/health")) as server:
        yield server


@contextmanager
def bare(core: int, directory: Path) -> Iterator[Server]:
    """The bare aiohttp handler."""
    port = _free_port()
    command = [sys.executable, "-m", "benchmarks.bare", str(port)]
    # Its only route is a POST: any answer will do.
    with _running(core, command, port, directory / "bare.log") as server:
        yield server


@contextmanager
def event_storage(core: int, directory: Path) -> Iterator[Server]:
    """The event-storage library behind a small Node server. Raises `PeerMissing`."""
    program = shutil.which("node")
    if program is None or not (PEER / "node_modules" / "event-storage").exists():
        raise PeerMissing("event-storage is not installed: npm ci --prefix benchmarks/peer")
    port = _free_port()
    command = [program, str(PEER / "server.mjs"), str(port), str(directory / "peer")]
    with _running(core, command, port, directory / "peer.log") as server:
        yield server


@contextmanager
def nginx(
    core: int, directory: Path, locations: str, *, http: str = "", nchan: bool = False
) -> Iterator[Server]:
    """nginx with one worker process. Raises `PeerMissing`."""
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        raise PeerMissing("nginx is not installed: apt-get install nginx")
    modules = f"load_module {_nchan_module()};\n" if nchan else ""
    if os.geteuid() == 0:  # else the worker could not read the files of this run
        modules += f"user {pwd.getpwuid(0).pw_name};\n"
    work = directory / "nginx"
    work.mkdir(exist_ok=True)
    port = _free_port()
    log = work / "error.log"
    configuration = work / "nginx.conf"
    files = os.sysconf("SC_OPEN_MAX")
    configuration.write_text(
        _NGINX_CONF.format(
            files=files,
            connections=files - 100,
            log=log,
            directory=work,
            modules=modules,
            http=http,
            port=port,
            locations=locations,
        )
    )
    command = [program, "-e", str(log), "-p", str(work), "-c", str(configuration)]
    with _running(core, command, port, log) as server:
        yield server


def _nchan_module() -> Path:
    for directory in _MODULES:
        path = directory / "ngx_nchan_module.so"
        if path.exists():
            return path
    raise PeerMissing("nginx has no nchan: apt-get install nginx libnginx-mod-nchan")


@contextmanager
def redis(core: int, directory: Path) -> Iterator[Server]:
    """Redis that syncs its append-only file before it answers. Raises `PeerMissing`."""
    program = shutil.which("redis-server")
    if program is None:
        raise PeerMissing("Redis is not installed: apt-get install redis-server")
    work = directory / "redis"
    work.mkdir(exist_ok=True)
    port = _free_port()
    command = [program, "--bind", wire.HOST, "--port", str(port), "--dir", str(work)]
    command += ["--save", "", "--tcp-backlog", "4096", "--maxclients", "20000"]
    command += ["--appendonly", "yes", "--appendfsync", "always"]
    command += ["--auto-aof-rewrite-percentage", "0"]
    with _running(core, command, port, work / "log", b"PING\r\n", b"+PONG") as server:
        yield server


@contextmanager
def jetstream(core: int, directory: Path) -> Iterator[tuple[Server, bool]]:
    """NATS with JetStream, and whether it syncs before it answers. Raises `PeerMissing`.

    Versions before 2.10 cannot do that: they sync now and then.
    """
    program = shutil.which("nats-server")
    if program is None:
        raise PeerMissing("NATS is not installed: apt-get install nats-server")
    work = directory / "nats"
    work.mkdir(exist_ok=True)
    port = _free_port()
    configuration = work / "nats.conf"
    command = [program, "-c", str(configuration)]
    for always in (True, False):
        sync = "sync_interval: always" if always else ""
        configuration.write_text(_NATS_CONF.format(port=port, directory=work, sync=sync))
        known = subprocess.run([*command, "-t"], capture_output=True).returncode == 0
        if known:
            break
    with _running(core, command, port, work / "log", b"", b"INFO ") as server:
        yield server, always


@contextmanager
def _running(
    core: int,
    command: Sequence[str],
    port: int,
    log: Path,
    question: bytes = wire.request("GET", "/"),
    answer: bytes = b"HTTP/1.1 ",
) -> Iterator[Server]:
    """A process that is started once it sends what begins with `answer`."""
    # setpriv: it is told to end when this process is gone, however that came about.
    command = ["taskset", "-c", str(core), "setpriv", "--pdeathsig", "TERM", *command]
    with open(log, "ab") as output:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        _wait(process, port, log, question, answer)
        yield Server(port, process.pid, time.perf_counter() - began)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(
    process: subprocess.Popen[bytes], port: int, log: Path, question: bytes, answer: bytes
) -> None:
    """Return once the server answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with wire.connect(port) as connection:
                connection.sendall(question)
                if connection.recv(1024).startswith(answer):
                    return
        except OSError:
            pass
        time.sleep(_LOOK_PAUSE)
    end = log.read_text(errors="replace")[-2000:]
    raise ServerFailed(f"{process.args!r} did not answer; its log ends with:\n{end}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((wire.HOST, 0))
        port: int = probe.getsockname()[1]
        return port
