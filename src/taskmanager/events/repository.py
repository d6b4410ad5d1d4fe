"""Reads of the event log that features share."""

from taskmanager.database.statements import Statement
from taskmanager.database.writes import Runner
from taskmanager.errors import StaleVersionError
from taskmanager.http.preconditions import IfMatch

# A thing that was moved has its changes in the logs of several projects. Only those of which the caller is a member are
# read, and there is no row unless they have every version. A move is complete in the log of the project that was left,
# which says whether the assignee was cleared; events from before it did are without `project_id`. OFFSET 0 has
# PostgreSQL look into the index for each membership.
_CHANGED_FIELDS = Statement(
    "name changed fields",
    """
WITH logged AS MATERIALIZED (
    SELECT e.* FROM project_members m CROSS JOIN LATERAL (
        SELECT version, action, changes FROM events
        WHERE project_id = m.project_id AND entity = :entity AND entity_id = :entity_id
          AND version > :base_version AND version <= :current_version
        OFFSET 0
    ) AS e
    WHERE m.user_id = :user_id
)
SELECT ARRAY(
    SELECT DISTINCT field COLLATE "C" FROM logged CROSS JOIN LATERAL jsonb_object_keys(changes) AS field ORDER BY 1
) AS fields
WHERE (
    SELECT count(DISTINCT version) FROM logged
    WHERE action <> 'moved_in' AND (action <> 'moved_out' OR jsonb_exists(changes, 'project_id'))
) = :current_version - :base_version
""",
    {"entity": "text", "base_version": "integer", "current_version": "integer"},
)


async def check_version(
    run: Runner, condition: IfMatch, version: int, *, user_id: int, entity: str, entity_id: int
) -> None:
    """Check the version that a thing has against what the client knows.

    Raises:
        PreconditionRequiredError: A condition is demanded and none was given.
        StaleVersionError: It is at another version; the error names the fields that changed since the client's.
    """
    try:
        condition.check(version)
    except StaleVersionError as stale:
        await name_changed_fields(run, stale, user_id=user_id, entity=entity, entity_id=entity_id)
        raise


async def name_changed_fields(
    run: Runner, stale: StaleVersionError, *, user_id: int, entity: str, entity_id: int
) -> None:
    """Add to an error the fields that changed since its base version, if the user may read all of that in the log."""
    base, current = stale.base_version, stale.current_version
    if base is None or base >= current:
        return
    row = await run.one(
        _CHANGED_FIELDS,
        user_id=user_id,
        entity=entity,
        entity_id=entity_id,
        base_version=base,
        current_version=current,
    )
    stale.changed_fields = None if row is None else row["fields"]
