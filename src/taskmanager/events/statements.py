"""Pieces of SQL with which a changing statement appends to the event log."""

from collections.abc import Iterable, Mapping

EVENT_COLUMNS = "project_id, actor_id, entity, entity_id, version, action, changes"


def next_version(project_id: str, entity: str, entity_id: str) -> str:
    """Return SQL for the first version of a thing that may have been there before: one more than its last event's."""
    return f"""1 + COALESCE((
        SELECT max(e.version) FROM events e
        WHERE e.project_id = {project_id} AND e.entity = {entity} AND e.entity_id = {entity_id}
    ), 0)"""


def written_timestamp(column: str) -> str:
    """Return SQL for a timestamp as the text that every answer writes."""
    return f"to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"


def changed_fields(
    source: str, columns: Iterable[str], timestamps: Iterable[str] = (), expressions: Mapping[str, str] | None = None
) -> str:
    """Return SQL for the fields that differ between `source.old` and `source.new`, two rows of one table.

    Its value is jsonb `{"title": {"old": "a", "new": "b"}}`, or NULL if nothing differs. Timestamps are
    written as every answer writes them. `expressions` are the SQL of fields that are no column, with `{}` for the row.
    """
    moments = tuple(timestamps)
    computed = expressions or {}

    def difference(name: str) -> str:
        value = computed.get(name, f"{{}}.{name}")
        old, new = value.replace("{}", f"({source}.old)"), value.replace("{}", f"({source}.new)")
        shown = [written_timestamp(side) if name in moments else side for side in (old, new)]
        return (
            f"CASE WHEN {old} IS DISTINCT FROM {new}"
            f" THEN jsonb_build_object('{name}', jsonb_build_object('old', {shown[0]}, 'new', {shown[1]}))"
            " ELSE '{}' END"
        )

    differences = " || ".join(["CAST('{}' AS jsonb)", *map(difference, (*columns, *moments, *computed))])
    return f"NULLIF({differences}, '{{}}')"
