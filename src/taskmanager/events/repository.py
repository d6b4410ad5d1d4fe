"""Reads of the event log that features share."""

from taskmanager.database.database import WriteSession, statement
from taskmanager.errors import StaleVersionError

_CHANGED_FIELDS = statement("""
SELECT DISTINCT jsonb_object_keys(changes) FROM events
WHERE project_id = :project_id AND entity = :entity AND entity_id = :entity_id AND version > :base_version
ORDER BY 1
""")


async def name_changes(
    session: WriteSession, stale: StaleVersionError, *, project_id: int, entity: str, entity_id: int
) -> StaleVersionError:
    """Return the error with the names of the fields that changed since the version that the client knows."""
    if stale.base_version is None or stale.base_version >= stale.current_version:
        return stale
    parameters = {
        "project_id": project_id,
        "entity": entity,
        "entity_id": entity_id,
        "base_version": stale.base_version,
    }
    stale.changed_fields = (await session.execute(_CHANGED_FIELDS, parameters)).scalars().all()
    return stale
