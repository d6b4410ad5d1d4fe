"""The nginx of this machine, with the configuration of docs/examples."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import free_port, wait_for_port

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "nginx.conf"
MAIN = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log {folder}/access.log;
    {more}
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    include {folder}/example.conf;
}}
"""
# The changes by which it serves below /tasks, as its comments say.
BELOW_PREFIX = (
    ("location / {", "location /tasks/ {"),
    ("    proxy_pass http://taskmanager;", "    proxy_pass http://taskmanager/;"),
    ("location = /api/v1/events {", "location = /tasks/api/v1/events {"),
    ('proxy_set_header X-Forwarded-Prefix "";', "proxy_set_header X-Forwarded-Prefix /tasks;"),
    ("location ~ ^/(metrics|readyz)$ {", "location ~ ^/tasks/(metrics|readyz)$ {"),
)


@contextmanager
def nginx(upstream_port: int, *changes: tuple[str, str], more: str = "") -> Iterator[str]:
    """Run nginx with the example in front of a port; yield its address.

    In the example, `changes` are made; `more` are further directives for the block http.
    """
    binary = os.environ.get("NGINX") or shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert binary, "nginx is not installed: apt-get install nginx-light"
    port = free_port()
    example = EXAMPLE.read_text()
    for written, ours in (
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("server 127.0.0.1:8000;", f"server 127.0.0.1:{upstream_port};"),
        *changes,
    ):
        assert example.count(f"    {written}\n") == 1, written
        example = example.replace(written, ours)
    with tempfile.TemporaryDirectory(prefix="nginx-") as folder:
        Path(folder, "example.conf").write_text(example)
        user = "user root;" if os.geteuid() == 0 else ""
        Path(folder, "nginx.conf").write_text(MAIN.format(folder=folder, user=user, more=more))
        command = [binary, "-p", folder, "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"]
        checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        assert "[warn]" not in checked.stderr
        process = subprocess.Popen(command)
        try:
            wait_for_port(process, port, Path(folder, "error.log"))
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)
