"""Pieces of SQL with which a changing statement appends to the event log."""

from collections.abc import Iterable

EVENT_COLUMNS = "project_id, actor_id, entity, entity_id, version, action, changes"
_TIMESTAMP = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"


def changed_fields(source: str, columns: Iterable[str], timestamps: Iterable[str] = ()) -> str:
    """Return SQL for the fields that differ between `source.old` and `source.new`, two rows of one table.

    Its value is jsonb `{"title": {"old": "a", "new": "b"}}`, or NULL if nothing differs. Timestamps are
    written as every answer writes them.
    """
    values = [f"('{name}', to_jsonb(({source}.old).{name}), to_jsonb(({source}.new).{name}))" for name in columns]
    for name in timestamps:
        old, new = (_TIMESTAMP.format(f"({source}.{side}).{name}") for side in ("old", "new"))
        values.append(f"('{name}', to_jsonb({old}), to_jsonb({new}))")
    return (
        "(SELECT jsonb_object_agg(f.name, jsonb_build_object('old', f.old, 'new', f.new))"
        f" FROM (VALUES {', '.join(values)}) AS f (name, old, new) WHERE f.old IS DISTINCT FROM f.new)"
    )
