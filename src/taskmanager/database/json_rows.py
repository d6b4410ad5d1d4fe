"""SQL that writes rows as JSON, as pydantic would write the models of the answers."""

from collections.abc import Collection
from datetime import date, datetime
from enum import StrEnum
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel


def json_object(
    model: type[BaseModel], alias: str, /, leave_out: Collection[str] = (), *, more: str = "", **expressions: str
) -> str:
    """Return SQL for the text of a JSON object with the fields of a model, from the columns of `alias` of these names.

    `expressions` are the SQL of fields that are no such column; that of a field which is a model is the text of its
    JSON object. The fields of `leave_out` are missing. `more` is SQL for the text of further fields, each with a comma
    before it, or NULL for none. Times are in UTC, since the connections of `Database` are. row_to_json looks the type
    of each column up for each row, which takes half as long again.
    """
    parts: list[str] = []
    for name, field in model.model_fields.items():
        if name in leave_out:
            continue
        kind, is_optional = _kind(field.annotation)
        value = _value(expressions.get(name, f"{alias}.{name}"), kind)
        if is_optional:
            value = f"COALESCE(CAST({value} AS text), 'null')"
        parts.append(f"""'{"," if parts else "{"}"{name}":', {value}""")
    if more:
        parts.append(more)
    return f"concat({', '.join(parts)}, '}}')"


def _kind(annotation: Any) -> tuple[Any, bool]:
    """Return the type behind an annotation, and whether it may be None."""
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        return _kind(kinds[0])[0], len(kinds) < len(get_args(annotation))
    return annotation, False


def _value(sql: str, kind: Any) -> str:
    if kind is datetime:
        return f"""to_char({sql}, '"\\""YYYY-MM-DD"T"HH24:MI:SS.US"Z\\""')"""
    if kind in {str, date}:
        return f"to_json({sql})"
    if kind is bool:
        return f"CASE WHEN {sql} THEN 'true' ELSE 'false' END"
    if get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, StrEnum)):
        return f"""'"' || {sql} || '"'"""
    if get_origin(kind) is list:
        return f"array_to_json({sql})"
    return sql  # a number, jsonb, or the text of another object


def json_page(rows: str, json: str, *, descending: bool = False, columns: str = "") -> str:
    """Return SQL for a page as one row, from `rows`, whose columns `key_time` and `key_id` order them.

    `rows` gives `:limit` rows at most, one more than the page has; `json` is the SQL of one of them as `row`. The
    answer's columns are `items`, the JSON objects with commas between, `found`, and `last_time` and `last_id`, the key
    of the last one of a page that is full; and `columns`, aggregates over `row`, each with a comma before it.
    """
    direction = "DESC" if descending else "ASC"
    # Numbered behind the limit, so that no more than the page is ever sorted.
    place = f"row_number() OVER (ORDER BY row.key_time {direction}, row.key_id {direction})"
    return f"""
        SELECT convert_to(string_agg({json}, ',') FILTER (WHERE row.place < :limit), 'UTF8') AS items,
               count(*) AS found, (array_agg(row.key_time))[:limit - 1] AS last_time,
               (array_agg(row.key_id))[:limit - 1] AS last_id{columns}
        FROM (SELECT row.*, {place} AS place FROM ({rows}) AS row) AS row
    """


def after_key(time: str, key: str, *, descending: bool = False) -> str:
    """Return the condition that a row comes behind `:after_time` and `:after_id`, or is any where these are NULL."""
    if descending:
        return f"({time}, {key}) < (COALESCE(:after_time, 'infinity'), COALESCE(:after_id, {2**63 - 1}))"
    return f"({time}, {key}) > (COALESCE(:after_time, '-infinity'), COALESCE(:after_id, 0))"
