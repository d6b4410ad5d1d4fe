"""Pauses and resumes all webhooks of a database, by an operator.

In a database that was restored into another server, or copied, they are paused by themselves: their rows name the
server and the database that they may be sent from.
"""

from taskmanager.database.statements import Statement
from taskmanager.database.writes import Writes
from taskmanager.webhooks.conditions import END, HERE, IS_HERE, LOG

_PAUSE = Statement("pause webhooks", "UPDATE webhooks SET system_id = NULL, database_id = NULL RETURNING 1")
# The messages of before were the other database's to send; owners can redeliver them.
_RESUME = Statement(
    "resume webhooks",
    f"""
WITH {LOG}, {HERE}, {END}, w AS (
    UPDATE webhooks w
    SET system_id = here.system_id, database_id = here.database_id,
        era = log_end.era, xid = log_end.xid, event_id = log_end.event_id, moved_at = now(),
        replay_era = NULL, replay_xid = NULL, replay_event_id = NULL, parked_in_row = 0, failing_since = NULL
    FROM here CROSS JOIN log_end
    WHERE NOT ({IS_HERE})
    RETURNING w.project_id, w.id
), given_up AS (
    UPDATE webhook_deliveries d
    SET state = 'failed', finished_at = now(), next_attempt_at = NULL, is_asked = false,
        error = 'the database was restored or copied meanwhile'
    FROM w WHERE d.project_id = w.project_id AND d.webhook_id = w.id AND d.finished_at IS NULL
)
SELECT project_id, id FROM w
""",
)


async def pause_all(writes: Writes) -> int:
    """Let no webhook be sent until somebody resumes them, and return how many there are."""
    return len(await writes.all(_PAUSE))


async def resume_all(writes: Writes) -> int:
    """Let those that are paused be sent what happens from now on, and return how many these are."""
    return len(await writes.all(_RESUME))
