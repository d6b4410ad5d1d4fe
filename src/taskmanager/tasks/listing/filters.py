"""The filters of lists of tasks: what a query gives, and the condition of each."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from taskmanager.tasks.due import DUE_AT, IS_DUE, IS_OVERDUE, WINDOWS, is_due
from taskmanager.tasks.folding import folded
from taskmanager.tasks.listing.schemas import Due, TaskFilters
from taskmanager.tasks.statements import INCLUDED_TYPES

_TIME: Final = "timestamptz"
_MATCHES: Final = " OR ".join(f"{folded(column)} LIKE {folded(':search')}" for column in ("t.title", "t.description"))
# Of those that are given each holds; one whose parameter is NULL is not given.
_BY_PARAMETER: Final = {
    "statuses": "t.status = ANY(:statuses)",
    "not_statuses": "t.status <> ALL(:not_statuses)",
    "priorities": "t.priority = ANY(:priorities)",
    "assignee_ids": "t.assignee_id = ANY(:assignee_ids)",
    "assignee_ids_or_none": "(t.assignee_id IS NULL OR t.assignee_id = ANY(:assignee_ids_or_none))",
    "not_assignee_ids": "(t.assignee_id = ANY(:not_assignee_ids)) IS NOT TRUE",
    "section_ids": "t.section_id = ANY(:section_ids)",
    "section_ids_or_none": "(t.section_id IS NULL OR t.section_id = ANY(:section_ids_or_none))",
    "creator_ids": "t.created_by = ANY(:creator_ids)",
    "tags": "t.tags && :tags",
    "not_tags": "NOT t.tags && :not_tags",
    # The last moment of a day counts, which is before its end.
    "due_after": f"({DUE_AT} >= :due_after AND (t.due_at IS NOT NULL OR {DUE_AT} > :due_after))",
    "due_before": f"({DUE_AT} <= :due_before AND (t.due_at IS NULL OR t.due_at < :due_before))",
    "updated_after": "t.updated_at >= :updated_after",
    "created_after": "t.created_at >= :created_after",
    "created_before": "t.created_at < :created_before",
    "search": f"({_MATCHES})",
}
CONDITIONS: Final = {
    **_BY_PARAMETER,
    "status": "t.status = :status",
    "priority": "t.priority = :priority",
    "assignee_id": "t.assignee_id = :assignee_id",
    "assigned": "t.assignee_id IS NOT NULL",
    "section_id": "t.section_id = :section_id",
    "no section": "t.section_id IS NULL",
    "overdue": IS_OVERDUE,
    "not overdue": f"{IS_OVERDUE} IS NOT TRUE",
    **IS_DUE,
}
TYPES: Final = {
    "status": "text",
    "statuses": "text[]",
    "not_statuses": "text[]",
    "priority": "integer",
    "priorities": "integer[]",
    "assignee_ids_or_none": "bigint[]",
    "section_ids_or_none": "bigint[]",
    "tags": "text[]",
    "not_tags": "text[]",
    "due": "text[]",
    "due_after": _TIME,
    "due_before": _TIME,
    "updated_after": _TIME,
    "created_after": _TIME,
    "created_before": _TIME,
    "search": "text",
    "needed": "integer",
    "size": "integer",
    "skip": "integer",
    "is_overdue": "boolean",
    "is_assigned": "boolean",
    "has_no_section": "boolean",
    "window_from": _TIME,
    "window_to": _TIME,
    "archived": "boolean",
    **INCLUDED_TYPES,
}
WITHOUT_A_DUE: Final = frozenset({"due none"})
WITH_A_DUE: Final = frozenset({"due_after", "due_before", *WINDOWS})
# A single value is compared by `=`: PostgreSQL then reads an index in order, which it does not for an array.
_SINGLE: Final = {
    "statuses": "status",
    "priorities": "priority",
    "assignee_ids": "assignee_id",
    "section_ids": "section_id",
}
_NO_FILTERS: Final = dict.fromkeys((*_BY_PARAMETER, "due", "is_overdue", "is_assigned", "has_no_section"))
_IS_DUE_AT_ANY: Final = " OR ".join(f"('{one}' = ANY(:due) AND {is_due([one])})" for one in Due)
# Those that most lists have; to ask of each row whether the others are given takes longer than to find it.
_COMMON: Final = ("statuses", "priorities", "assignee_ids", "tags", "due_after", "due_before", "search")
_OF_COMMON: Final = frozenset({*_COMMON, "overdue", "not overdue"})
# Clocks may differ by so much.
_LEEWAY: Final = timedelta(hours=1)


def _where_given(names: Iterable[str]) -> str:
    return " AND ".join(f"(:{name} IS NULL OR {_BY_PARAMETER[name]})" for name in names)


_COMMON_FILTERS: Final = f"""
    {_where_given(_COMMON)}
    AND (:is_overdue IS NULL OR ({IS_OVERDUE} IS TRUE) = :is_overdue)
"""
_OTHER_FILTERS: Final = f"""
    {_where_given(name for name in _BY_PARAMETER if name not in _COMMON)}
    AND (:due IS NULL OR {_IS_DUE_AT_ANY})
    AND (:is_assigned IS NULL OR t.assignee_id IS NOT NULL)
    AND (:has_no_section IS NULL OR t.section_id IS NULL)
"""


class FiltersOfFew(NamedTuple):
    """What a statement on few tasks can filter by: in a window of `DUE_AT`, and by more than what most lists have."""

    in_window: bool
    with_others: bool

    @property
    def condition(self) -> str:
        """The condition that all given filters hold, as SQL."""
        return f"{_COMMON_FILTERS} AND {_OTHER_FILTERS}" if self.with_others else _COMMON_FILTERS


def filters_of_few(filters: Iterable[str]) -> FiltersOfFew:
    """Return what a statement needs for the given filters."""
    return FiltersOfFew(not WITH_A_DUE.isdisjoint(filters), not _OF_COMMON.issuperset(filters))


def given_filters(query: TaskFilters, user_id: int) -> dict[str, Any]:
    """Return the filters that are given, and their values."""
    given: dict[str, Any] = {}
    sections = [section for section in query.section_id if section != "none"]
    if "none" in query.section_id and not sections:
        given["no section"] = True
    for name, values in (
        ("statuses", query.status),
        ("not_statuses", query.not_status),
        ("priorities", query.priority),
        ("section_ids_or_none" if "none" in query.section_id else "section_ids", sections),
        ("tags", query.tag),
        ("not_tags", query.not_tag),
    ):
        if values:
            given[name] = list(dict.fromkeys(values))
    if query.names_people:
        given.update(_people(query, user_id))
    for name in ("due_after", "due_before", "updated_after", "created_after", "created_before"):
        if (moment := getattr(query, name)) is not None:
            given[name] = moment
    if query.overdue is not None:
        given["overdue" if query.overdue else "not overdue"] = True
    if query.due:
        given[f"due {' '.join(one for one in Due if one in query.due)}"] = True
    if query.search is not None:
        escaped = query.search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        given["search"] = f"%{escaped}%"
    return given


def _people(query: TaskFilters, user_id: int) -> dict[str, Any]:
    """Return the filters by people that are given, and their values."""
    assignees, not_assignees, creators = (
        list(dict.fromkeys(user_id if who == "me" else who for who in people if who != "none"))
        for people in (query.assignee, query.not_assignee, query.created_by)
    )
    given: dict[str, Any] = {}
    if "none" in query.assignee:
        given["assignee_ids_or_none"] = assignees
    elif assignees:
        given["assignee_ids"] = assignees
    if not_assignees:
        given["not_assignee_ids"] = not_assignees
    if "none" in query.not_assignee:
        given["assigned"] = True
    if creators:
        given["creator_ids"] = creators
    return given


def with_single_values(filters: dict[str, Any]) -> dict[str, Any]:
    """Return filters for a statement that is planned for their values: those with a single one compare by `=`."""
    return {
        (_SINGLE[name] if name in _SINGLE and len(value) == 1 else name): (
            value[0] if name in _SINGLE and len(value) == 1 else value
        )
        for name, value in filters.items()
    }


def values_for_few(filters: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return all values of a statement on few tasks, whose filters are NULL where they are not given."""
    return {
        **_NO_FILTERS,
        **values,
        **filters,
        **_window(filters),
        "due": next((name.split()[1:] for name in filters if name in IS_DUE), None),
        "is_overdue": True if "overdue" in filters else False if "not overdue" in filters else None,
        "is_assigned": filters.get("assigned"),
        "has_no_section": filters.get("no section"),
        "project_ids": values["project_ids"] or None,
    }


def _window(filters: dict[str, Any]) -> dict[str, datetime | None]:
    """Return a window of `DUE_AT` in which all tasks are that meet the filters; None where it has no limit."""
    begins, ends = filters.get("due_after"), filters.get("due_before")
    for name in filters:
        if (window := WINDOWS.get(name)) is not None:
            now = datetime.now(UTC)
            begins = None if window.first is None else now + timedelta(hours=window.first) - _LEEWAY
            ends = now + timedelta(hours=window.last) + _LEEWAY
    return {"window_from": begins, "window_to": ends}


def chosen_projects(query: TaskFilters, *, user_id: int, project_ids: Sequence[int]) -> dict[str, Any]:
    """Return the values that choose projects: those that are named, or else all of the caller's that are wanted."""
    named = sorted(set(project_ids))
    return {
        "user_id": user_id,
        "project_ids": named,
        "project_id": named[0] if named else None,
        "archived": None if named else query.archived.wanted,
    }
