"""Holds an embedded PostgreSQL for tests that are no Python: writes its address, and stops it when the input ends."""

import sys

from taskmanager.embedded.embedded_postgres import EmbeddedPostgres
from tests.support.embedded_servers import FAST, open_folder

if __name__ == "__main__":
    with open_folder() as folder, EmbeddedPostgres(folder, FAST) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        sys.stdin.read()
