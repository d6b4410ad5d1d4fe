"""Removes the names of deleted accounts that a version without display names has left."""

from taskmanager.database.statements import Statement
from taskmanager.maintenance.jobs import purge_job

PURGE_NAMES = purge_job(
    "purge names of deleted accounts",
    Statement(
        "purge names of deleted accounts",
        """
        UPDATE users SET display_name = NULL, time_zone = DEFAULT WHERE id = ANY(ARRAY(
            SELECT id FROM users WHERE deleted_at IS NOT NULL AND display_name IS NOT NULL
            LIMIT :limit FOR UPDATE SKIP LOCKED
        )) RETURNING 1
        """,
    ),
    lambda _: {},
)
