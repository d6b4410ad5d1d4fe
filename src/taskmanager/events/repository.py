"""Reads of the event log that features share."""

from taskmanager.database.statements import Statement
from taskmanager.database.writes import Runner
from taskmanager.errors import StaleVersionError
from taskmanager.http.preconditions import IfMatch

_CHANGED_FIELDS = Statement(
    "name changed fields",
    """
SELECT array_agg(DISTINCT field ORDER BY field) AS fields
FROM events CROSS JOIN LATERAL jsonb_object_keys(changes) AS field
WHERE project_id = :project_id AND entity = :entity AND entity_id = :entity_id AND version > :base_version
""",
    {"entity": "text", "base_version": "integer"},
)


async def check_version(
    run: Runner, condition: IfMatch, version: int, *, project_id: int, entity: str, entity_id: int
) -> None:
    """Check the version that a thing has against what the client knows.

    Raises:
        PreconditionRequiredError: A condition is demanded and none was given.
        StaleVersionError: It is at another version; the error names the fields that changed since the client's.
    """
    try:
        condition.check(version)
    except StaleVersionError as stale:
        if stale.base_version is None or stale.base_version >= version:
            raise
        row = await run.one(
            _CHANGED_FIELDS, project_id=project_id, entity=entity, entity_id=entity_id, base_version=stale.base_version
        )
        stale.changed_fields = (row and row["fields"]) or []
        raise
