"""Real proxies in front of a hub, with the configuration that the documentation prints."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.parts import missing, require
from tests.process import HubProcess, free_port, wait_until

PAGE = Path(__file__).parents[1] / "docs" / "operating.md"

_NGINX = """\
daemon off;
{user}
pid {place}/nginx.pid;
events {{ worker_connections 100; }}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    include {place}/hub.conf;
}}
"""

_CADDY = """\
{
	admin off
	skip_install_trust
	auto_https disable_redirects
}
"""


def printed(kind: str, title: str) -> list[str]:
    """The blocks of the documentation that begin with this title as a comment."""
    blocks = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    found = [each for each in blocks if each.startswith(f"# {title}\n")]
    assert found, f"operating.md has no {title}"
    return found


def replaced(text: str, values: dict[str, str]) -> str:
    """A configuration with other values; each of those it had must be there."""
    for old, new in values.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@contextmanager
def running(command: Sequence[str | Path], place: Path, url: str) -> Iterator[None]:
    """A server from when it answers until it is left."""
    log = place / f"{Path(command[0]).name}.log"
    with open(log, "wb") as file:
        environment = {"PATH": os.environ["PATH"], "HOME": str(place)}
        server = subprocess.Popen(
            command, cwd=place, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )

    def answers() -> bool:
        assert server.poll() is None, log.read_text()
        asked = subprocess.run(["curl", "-sk", "-o", os.devnull, "--max-time", "5", url])
        return asked.returncode == 0

    try:
        wait_until(answers, f"{command[0]} answers")
        yield
    finally:
        server.terminate()
        server.wait()


@contextmanager
def auth(place: Path) -> Iterator[int]:
    """The service that says who may do what; gives its port."""
    port = free_port()
    (service,) = printed("python", "auth.py")
    (place / "auth.py").write_text(replaced(service, {"9001": str(port)}))
    with running([sys.executable, "auth.py"], place, f"http://127.0.0.1:{port}"):
        yield port


@contextmanager
def nginx(hub: HubProcess, place: Path, auth_port: int | None = None) -> Iterator[str]:
    """nginx; gives the URL of the hub behind it."""
    path = os.environ["PATH"] + ":/usr/sbin"
    program = shutil.which("nginx", path=path)
    if program is None:
        missing("there is no nginx here: install Debian's nginx")
    port = free_port()
    key, certificate = place / "hub.key", place / "hub.pem"
    subprocess.run(
        [require("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "1", "-subj", "/CN=localhost", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip
    (site,) = printed("nginx", "/etc/nginx/conf.d/hub.conf")
    site = replaced(
        site,
        {
            "127.0.0.1:9000": f"127.0.0.1:{hub.port}",
            "listen 443 ": f"listen 127.0.0.1:{port} ",
            "hub.example.com;": "localhost;",
            "/etc/ssl/hub.example.com.pem": str(certificate),
            "/etc/ssl/hub.example.com.key": str(key),
        },
    )
    if auth_port is not None:
        (inside,) = printed("nginx", "in the server block of hub.conf")
        inside = replaced(inside, {"127.0.0.1:9001": f"127.0.0.1:{auth_port}"})
        head, end, _ = site.rpartition("}")
        site = head + inside + end + "\n"
    (place / "hub.conf").write_text(site)
    user = "user root;" if os.geteuid() == 0 else ""  # who else may read the files of this test?
    (place / "nginx.conf").write_text(_NGINX.format(place=place, user=user))
    command: list[str | Path] = [
        program,
        "-p",
        place,
        "-e",
        place / "error.log",
        "-c",
        place / "nginx.conf",
    ]
    with running(command, place, f"https://localhost:{port}/health"):
        yield f"https://localhost:{port}"


@contextmanager
def caddy(hub: HubProcess, place: Path, auth_port: int | None = None) -> Iterator[str]:
    """Caddy; gives the URL of the hub behind it."""
    program = require("caddy")
    url = f"https://localhost:{free_port()}"
    plain, guarded = printed("caddyfile", "Caddyfile")
    file = plain if auth_port is None else guarded
    file = replaced(file, {"hub.example.com": url, "127.0.0.1:9000": f"127.0.0.1:{hub.port}"})
    if auth_port is not None:
        file = replaced(file, {"127.0.0.1:9001": f"127.0.0.1:{auth_port}"})
    (place / "Caddyfile").write_text(_CADDY + file)
    command = [program, "run", "--config", "Caddyfile", "--adapter", "caddyfile"]
    with running(command, place, f"{url}/health"):
        yield url
