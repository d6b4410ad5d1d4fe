"""What must hold in the database whatever was written at the same time, and how many deadlocks there were."""

from typing import Any

from taskmanager.database.database import Database
from tests.support.rows import fetch_all

# Each finds what must not be. The log of a project goes with it, so what happened there is not told any more.
_VIOLATIONS = {
    "a task is in two projects": "SELECT id FROM tasks GROUP BY id HAVING count(*) > 1",
    "a comment is in two projects": "SELECT id FROM comments GROUP BY id HAVING count(*) > 1",
    "an assignee is no member": """
        SELECT t.id FROM tasks t WHERE t.assignee_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM project_members m WHERE m.project_id = t.project_id AND m.user_id = t.assignee_id
        )
    """,
    "a comment is not where its task is": """
        SELECT c.id FROM comments c LEFT JOIN tasks t ON t.project_id = c.project_id AND t.id = c.task_id
        WHERE t.id IS NULL
    """,
    "a task is in no project": """
        SELECT t.id FROM tasks t LEFT JOIN projects p ON p.id = t.project_id WHERE p.id IS NULL
    """,
    "a project has no owner": """
        SELECT p.id FROM projects p WHERE NOT EXISTS (
            SELECT FROM project_members m WHERE m.project_id = p.id AND m.role = 'owner'
        )
    """,
    "a task's version is not that of its last event": """
        SELECT t.id, t.version FROM tasks t WHERE t.version IS DISTINCT FROM (
            SELECT max(version) FROM events e WHERE e.project_id = t.project_id AND entity = 'task' AND entity_id = t.id
        )
    """,
    "a project's version is not that of its last event": """
        SELECT p.id, p.version FROM projects p WHERE p.inbox_of IS NULL AND p.version IS DISTINCT FROM (
            SELECT max(version) FROM events e
            WHERE e.project_id = p.id AND entity = 'project' AND entity_id = p.id
        )
    """,
    "a comment's version is not that of its last event": """
        SELECT c.id, c.version FROM comments c WHERE c.version <> (
            SELECT max(version) FROM events e WHERE entity = 'comment' AND entity_id = c.id
        ) AND NOT EXISTS (  -- unless it may have changed in a project that is gone, and the log of that with it
            SELECT FROM events e WHERE entity = 'task' AND entity_id = c.task_id AND action = 'moved_in'
                AND NOT EXISTS (
                    SELECT FROM events o WHERE o.entity = 'task' AND o.entity_id = e.entity_id
                        AND o.version = e.version AND o.action = 'moved_out'
                )
        )
    """,
    "two changes made the same version": """
        SELECT entity, entity_id, version FROM events WHERE entity <> 'member' AND action <> 'moved_out'
        GROUP BY entity, entity_id, version HAVING count(*) > 1
    """,
    "a deleted task is there": """
        SELECT t.id FROM tasks t JOIN events e ON e.entity = 'task' AND e.entity_id = t.id AND e.action = 'deleted'
    """,
    "a task went on in a project that it had left": """
        SELECT e.entity_id FROM (
            SELECT DISTINCT ON (project_id, entity_id) * FROM events WHERE entity = 'task'
            ORDER BY project_id, entity_id, version DESC
        ) AS e JOIN tasks t ON t.id = e.entity_id WHERE e.action <> 'moved_out' AND t.project_id <> e.project_id
    """,
    "a membership is not what the log says": """
        SELECT e.project_id, e.entity_id, e.action, m.role FROM (
            SELECT DISTINCT ON (project_id, entity_id) * FROM events WHERE entity = 'member'
            ORDER BY project_id, entity_id, xid DESC, id DESC
        ) AS e
        JOIN projects p ON p.id = e.project_id
        LEFT JOIN project_members m ON m.project_id = e.project_id AND m.user_id = e.entity_id
        WHERE m.role IS DISTINCT FROM (e.changes -> 'role' ->> 'new')
    """,
    "somebody is told of their own doing": "SELECT id FROM notifications WHERE user_id = actor_id",
    "a transaction is left open": """
        SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'taskmanager' AND state LIKE 'idle in transaction%'
    """,
}


async def violations(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Return every rule that is broken, with the rows that break it."""
    found = {rule: await fetch_all(database, statement) for rule, statement in _VIOLATIONS.items()}
    return {rule: rows for rule, rows in found.items() if rows}


async def deadlocks(database: Database) -> int:
    """Return how many deadlocks the server has broken up in this database."""
    statement = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    return int((await fetch_all(database, statement))[0]["deadlocks"])
