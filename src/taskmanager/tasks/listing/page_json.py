"""SQL that writes a page of tasks as JSON, with what else a request asks for."""

from taskmanager.people.statements import people_named
from taskmanager.tasks.statements import people_of, task_as_json, task_with_counts


def tasks_as_json(tasks: str, order: str, columns: str, condition: str = "true", *, with_more: bool) -> str:
    """Return SQL for one row of many tasks, `tasks`, which the clause `order` sorts.

    It has `tasks`, the JSON objects with commas between of those that meet the condition, and `columns`, aggregates
    over `t`. With more it also has `more`, further fields of the answer, each with a comma behind it: `people` if
    `:with_people` is true. If `:with_counts` is, the tasks say how much belongs to them.
    """
    task = task_as_json("t")
    if with_more:
        task = task_with_counts("t")
        columns += f", array_agg(ARRAY[{', '.join(people_of('t'))}]) FILTER (WHERE {condition}) AS people_ids"
    sql = f"""
        SELECT convert_to(string_agg({task}, ','{order}) FILTER (WHERE {condition}), 'UTF8') AS tasks, {columns}
        FROM ({tasks}) AS t
    """
    if not with_more:
        return sql
    people = f"convert_to(concat({people_named('page.people_ids')}, ','), 'UTF8')"
    return f"SELECT page.*, CASE WHEN :with_people THEN {people} END AS more FROM ({sql}) AS page"
