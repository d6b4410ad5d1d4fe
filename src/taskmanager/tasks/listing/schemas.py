"""Which tasks a list has, in which order, and what it shows of them."""

from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from taskmanager.field_types import DIGITS, FreeText, WrittenId, WrittenMoment
from taskmanager.http.pagination import CursorText, Limit, ListQuery
from taskmanager.projects.schemas import Archived
from taskmanager.tasks.schemas import Included, Tag, TaskStatus

MAX_IDS = 100


class TaskSort(StrEnum):
    """What a list can be sorted by."""

    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    PRIORITY = "priority"
    TITLE = "title"
    DUE_AT = "due_at"
    POSITION = "position"


class SortKey(NamedTuple):
    """One key of an order."""

    by: TaskSort
    ascending: bool


class Due(StrEnum):
    """When tasks are due, seen from the caller's time zone; a week begins on Monday."""

    NONE = "none"
    OVERDUE = "overdue"
    TODAY = "today"
    WEEK = "week"


class AssigneeWord(StrEnum):
    """What a filter by assignee takes in place of an id: the caller, or nobody."""

    ME = "me"
    NONE = "none"


class Counting(StrEnum):
    """Whether a list counts what matches."""

    EXACT = "exact"
    NONE = "none"


_KEY = f"({'|'.join(TaskSort)})"
SortBy = Annotated[str, Field(pattern=f"^{_KEY}(,{_KEY})?$", description="One key, or two with a comma between them.")]
Directions = Annotated[
    str, Field(pattern="^(asc|desc)(,(asc|desc))?$", description="Of all keys, or of each one, with a comma between.")
]
_LATER_FILTERS: Final = (
    *("section_id", "not_status", "not_tag", "not_assignee", "created_by", "due"),
    *("created_after", "created_before", "updated_after"),
)


class TaskInclude(StrEnum):
    """What else an answer with tasks shows."""

    PEOPLE = "people"
    COUNTS = "counts"


class TaskIncludeQuery(ListQuery):
    """What else to show of tasks, and beside them."""

    include: list[TaskInclude] = Field(
        default=[],
        description="`people`: everybody whom the answer names, by id; `counts`: how many comments each task has.",
    )

    @cached_property
    def included(self) -> Included:
        """What else to show."""
        return Included(people=TaskInclude.PEOPLE in self.include, counts=TaskInclude.COUNTS in self.include)


class TaskFilters(ListQuery):
    """Which tasks of a project; a repeated filter means any of its values."""

    status: list[TaskStatus] = Field(default=[], description="How far they are.")
    not_status: list[TaskStatus] = Field(default=[], description="Without those that are so far.")
    priority: list[Annotated[int, Field(ge=1, le=5), DIGITS]] = Field(
        default=[], description="Their priority, from 1, the lowest, to 5."
    )
    tag: list[Tag] = Field(default=[], description="One of their tags.")
    not_tag: list[Tag] = Field(default=[], description="Without those that have one of these tags.")
    assignee: list[AssigneeWord | WrittenId] = Field(
        default=[], description="Who is to do them: an id, `me` for the caller, or `none` for nobody."
    )
    not_assignee: list[AssigneeWord | WrittenId] = Field(
        default=[],
        description="Without those that these are to do; `none` leaves out those that nobody has.",
    )
    created_by: list[Literal["me"] | WrittenId] = Field(
        default=[], description="Who created them: an id, or `me` for the caller."
    )
    section_id: list[Literal["none"] | WrittenId] = Field(
        default=[], description="The section that they are in, or `none` for those in none."
    )
    due: list[Due] = Field(default=[], description="By the caller's time zone; `overdue` as the filter of that name.")
    due_after: WrittenMoment | None = Field(
        default=None, description="Due at this moment or later; a day counts as its last moment in UTC."
    )
    due_before: WrittenMoment | None = Field(default=None, description="Due before this moment.")
    overdue: bool | None = Field(
        default=None,
        description="Due before now, or on a day that is over in the caller's time zone, and neither completed nor "
        "cancelled.",
    )
    created_after: WrittenMoment | None = Field(default=None, description="Created at this moment or later.")
    created_before: WrittenMoment | None = Field(default=None, description="Created before this moment.")
    updated_after: WrittenMoment | None = Field(default=None, description="Changed at this moment or later.")
    search: Annotated[str, FreeText(100)] | None = Field(
        default=None, description="Part of the title or the description, in any case; wildcards are literal."
    )
    archived: Archived = Field(
        default=Archived.FALSE,
        description="Also tasks of archived projects, or only those; without effect where projects are named.",
    )

    @cached_property
    def names_people(self) -> bool:
        """Whether one of the filters is by people."""
        return bool(self.assignee or self.not_assignee or self.created_by)

    @model_validator(mode="after")
    def _refuse_reversed_ranges(self) -> Self:
        for name in ("due", "created"):
            after, before = getattr(self, f"{name}_after"), getattr(self, f"{name}_before")
            if after and before and after >= before:
                raise ValueError(f"{name}_after must be before {name}_before")
        return self


class ProjectTaskQuery(TaskIncludeQuery, TaskFilters):
    """Which tasks of a project to list, and in which order; a repeated filter means any of its values."""

    sort_by: SortBy = TaskSort.CREATED_AT.value
    order: Directions = Field(default="desc", description="By position alone it is `asc` by default.")
    skip: Annotated[int, Field(ge=0, le=10_000), DIGITS] = 0
    limit: Limit = 20
    cursor: CursorText | None = Field(default=None, description="`next_cursor` of the page before; `skip` is then 0.")
    count: Counting | None = Field(
        default=None, description="Whether to count `total`; without it the first page counts, those by cursor don't."
    )

    @cached_property
    def filters_and_order(self) -> str:
        """What makes this list different from those with other filters or another order, `archived` apart."""
        # Cursors from before there were these filters stay good.
        unset = {name for name in _LATER_FILTERS if not getattr(self, name)}
        return self.model_dump_json(exclude={"cursor", "skip", "limit", "count", "archived", "include", "id", *unset})

    @model_validator(mode="before")
    @classmethod
    def _order_positions_upwards(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("sort_by") == TaskSort.POSITION:
            return {"order": "asc", **given}
        return given

    @cached_property
    def sort(self) -> tuple[SortKey, ...]:
        """The keys to sort by; creation is not named where it follows anyway."""
        directions = self.order.split(",")
        names = self.sort_by.split(",")
        keys = [
            SortKey(TaskSort(name), ascending=direction == "asc")
            for name, direction in zip(names, directions * len(names), strict=False)
        ]
        if len(keys) == 2 and keys[1] == (TaskSort.CREATED_AT, keys[0].ascending):
            del keys[1]
        return tuple(keys)

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        if self.cursor is not None and self.skip > 0:
            raise ValueError("skip must be 0 with a cursor")
        names = self.sort_by.split(",")
        if len(set(names)) < len(names):
            raise ValueError("sort_by must name two different keys")
        if self.order.count(",") > self.sort_by.count(","):
            raise ValueError("order must not name more directions than sort_by has keys")
        return self


class TaskQuery(ProjectTaskQuery):
    """Which tasks to list, and in which order; a repeated filter means any of its values."""

    project_id: list[WrittenId] = Field(default=[], description="Tasks of these projects only.")
    id: Annotated[list[WrittenId], Field(max_length=MAX_IDS)] = Field(
        default=[],
        description="These tasks alone, in this order, as far as they may be seen; only `include` may stand beside it.",
    )

    @model_validator(mode="after")
    def _refuse_filters_beside_ids(self) -> Self:
        if self.id and (others := self.model_fields_set - {"id", "include"}):
            raise ValueError(f"id cannot stand beside {min(others)}")
        return self

    @model_validator(mode="after")
    def _order_within_one_project(self) -> Self:
        if any(key.by is TaskSort.POSITION for key in self.sort) and len(set(self.project_id)) != 1:
            raise ValueError("sort_by=position needs one project_id")
        return self
