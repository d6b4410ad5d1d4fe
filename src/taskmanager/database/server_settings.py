"""The settings that every connection needs, and how to tell whether they are in force behind a pooler.

A server without a pooler takes them with the connection. A pooler in transaction mode gives each transaction another
server connection, so there they belong to the role (`ALTER ROLE ... IN DATABASE ... SET`).
"""

from collections.abc import Mapping
from typing import Any, Final

from taskmanager.database.checks import Fault
from taskmanager.database_settings import DatabaseSettings

# PgBouncer refuses a connection that names any other; it sets these for each client that uses a server connection.
PASSED_ON_BY_POOLERS: Final = ("application_name", "timezone")
_TIME_OUTS: Final = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
_FOR_SPEED: Final = ("jit", "random_page_cost", "gin_pending_list_limit", "work_mem")
# A time-out is shown with the unit that makes it shortest, 0 without one.
IN_FORCE: Final = f"""
SELECT pg_backend_pid() AS pid, quote_ident(session_user) AS role, quote_ident(current_database()) AS database,
       {
    ", ".join(
        f"CAST(extract(epoch FROM CAST(current_setting('{name}') AS interval)) * 1000 AS bigint) AS {name}"
        for name in _TIME_OUTS
    )
}, {", ".join(f"current_setting('{name}') AS {name}" for name in ("timezone", *_FOR_SPEED))}
"""


class UnfitConnectionError(ConnectionError):
    """A connection through a pooler that would not do what the service needs; the message is one line.

    `reason` is that line without what only operators should read.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.reason = fault.reason


def connection_settings(settings: DatabaseSettings, statement_timeout_ms: int | None = None) -> dict[str, str]:
    """Return what every connection has, by the names of PostgreSQL."""
    return {
        "application_name": "taskmanager",
        "timezone": "UTC",
        "jit": "off",
        # As on a solid-state disk. With the default, made for spinning disks, the planner prefers a bitmap scan and
        # a sort to reading a page in the order of its index, which is much slower once a project has grown.
        "random_page_cost": "1.1",
        # The statement that finds the search index's pending list full merges it; `search_index` does so earlier,
        # in the background. With this much memory a merge is one pass; with little it takes three times as long.
        "gin_pending_list_limit": "16MB",
        "work_mem": "64MB",
        "statement_timeout": str(statement_timeout_ms or settings.database_statement_timeout_ms),
        "lock_timeout": str(settings.database_lock_timeout_ms),
        "idle_in_transaction_session_timeout": "10000",
    }


class RoleSettings:
    """What the role has to have set behind a pooler in transaction mode."""

    def __init__(self, settings: DatabaseSettings) -> None:
        needed = connection_settings(settings)
        self._longest_ms = {name: int(needed[name]) for name in _TIME_OUTS}
        self._exact = {name: needed[name] for name in ("timezone", *_FOR_SPEED)}

    def fault(self, found: Mapping[Any, Any]) -> Fault | None:
        """Return what must not be served with, found by `IN_FORCE`: no time-outs or longer ones, another time zone."""
        wrong = [
            f"{name} is {found[name]} ms instead of {longest} ms"
            for name, longest in self._longest_ms.items()
            if not 0 < found[name] <= longest
        ]
        if found["timezone"] != self._exact["timezone"]:
            wrong.append(f"timezone is {found['timezone']} instead of {self._exact['timezone']}")
        if not wrong:
            return None
        return Fault(
            f"settings of the database role are not in force behind the pooler ({', '.join(wrong)})",
            "paste what `taskmanager doctor` prints into psql, then RECONNECT in the pooler",
        )

    def differences(self, found: Mapping[Any, Any]) -> list[str]:
        """Return the names of all settings that differ."""
        times = [name for name, longest in self._longest_ms.items() if found[name] != longest]
        return times + [name for name, value in self._exact.items() if found[name] != value]

    def statements(self, found: Mapping[Any, Any]) -> list[str]:
        """Return the statements that set all of them for the role in the database; names come from `IN_FORCE`."""
        values = {**{name: f"{longest}ms" for name, longest in self._longest_ms.items()}, **self._exact}
        whose = f"ALTER ROLE {found['role']} IN DATABASE {found['database']}"
        return [f"{whose} SET {name} = '{value}';" for name, value in values.items()]
