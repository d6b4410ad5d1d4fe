"""What PostgreSQL does for a request: the plan of the very statement that the service sends."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import event, make_url

from taskmanager.database import Database
from tests.server import connect

# From the sixth execution on PostgreSQL may plan without looking at the values.
_EXECUTIONS = 7


@dataclass(frozen=True)
class Sent:
    """A statement with its parameters, as it went to the driver."""

    statement: str
    parameters: Sequence[Any]


@contextmanager
def statements_sent(database: Database) -> Iterator[list[Sent]]:
    """Record what the service sends while the block runs."""
    sent: list[Sent] = []

    def record(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append(Sent(statement, tuple(parameters)))

    event.listen(database.engine.sync_engine, "before_cursor_execute", record)
    yield sent
    event.remove(database.engine.sync_engine, "before_cursor_execute", record)


@dataclass(frozen=True)
class Plan:
    """A plan that was executed, with what it cost."""

    root: dict[str, Any]
    milliseconds: float

    @property
    def nodes(self) -> list[dict[str, Any]]:
        """All nodes."""
        found: list[dict[str, Any]] = []
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            found.append(node)
            waiting += node.get("Plans", [])
        return found

    @property
    def buffers(self) -> int:
        """Pages that were read, from memory or not."""
        return int(self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"])

    def scans(self, table: str) -> set[str]:
        """Return how a table is read: the names of indexes, or `Seq Scan`."""
        found = set()
        for node in self.nodes:
            if "Bitmap Index Scan" in node["Node Type"]:
                if node["Index Name"].startswith(f"{table}_"):
                    found.add(node["Index Name"])
            elif node.get("Relation Name") == table and node["Node Type"] != "Bitmap Heap Scan":
                found.add(node.get("Index Name", node["Node Type"]))
        return found

    @property
    def most_rows(self) -> int:
        """The most rows that any node handled: read, filtered out, or handed on."""
        return max(
            int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
            for node in self.nodes
        )

    @property
    def most_rows_sorted(self) -> int:
        """The most rows that went into a sort."""
        sorts = [node for node in self.nodes if node["Node Type"] == "Sort"]
        return max(
            (int(child["Actual Rows"] * child["Actual Loops"]) for node in sorts for child in node["Plans"]), default=0
        )


def _literal(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case int():
            return str(value)
        case datetime():
            return f"'{value.isoformat()}'"
        case list():
            return "'{" + ",".join(f'"{element}"' for element in value) + "}'"
    return "'" + str(value).replace("'", "''") + "'"


async def explain(database_url: str, sent: Sent, executions: int = _EXECUTIONS) -> Plan:
    """Execute a statement as often as it takes for PostgreSQL to settle on a plan, and return the last one."""
    connection: asyncpg.Connection[Any] = await connect(make_url(database_url))
    try:
        await connection.execute("SET jit = off")
        await connection.execute(f"PREPARE sent AS {sent.statement}")
        arguments = ", ".join(_literal(value) for value in sent.parameters)
        call = f"EXECUTE sent({arguments})" if arguments else "EXECUTE sent"
        for _ in range(executions - 1):
            await connection.execute(call)
        (answer,) = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {call}")
    finally:
        await connection.close()
    import json

    (plan,) = json.loads(answer[0])
    return Plan(plan["Plan"], plan["Execution Time"])
