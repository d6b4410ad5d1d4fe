"""Where a thing is put, as a request says it."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from taskmanager.field_types import UNCHANGED, Id, RequestModel, exactly_one_of


class OrderEnd(StrEnum):
    """An end of an order."""

    TOP = "top"
    BOTTOM = "bottom"


class Place(RequestModel):
    """A place in an order: before or after another thing, or at an end."""

    model_config = ConfigDict(
        json_schema_extra=exactly_one_of(at="PlaceAtEnd", before="PlaceBefore", after="PlaceAfter")
    )

    before: Annotated[Id, Field(description="Id of the one that it is put before.")] = UNCHANGED
    after: Annotated[Id, Field(description="Id of the one that it is put after.")] = UNCHANGED
    at: Annotated[OrderEnd, Field(description="The end that it is put at.")] = UNCHANGED

    @model_validator(mode="after")
    def _require_one_place(self) -> Self:
        if len({"before", "after", "at"} & self.model_fields_set) != 1:
            raise ValueError("give one of before, after and at")
        return self

    @property
    def neighbour_id(self) -> int | None:
        """The thing that it is put next to, None at an end."""
        return self.before or self.after

    @property
    def neighbour_field(self) -> str:
        """The field that names the neighbour."""
        return "before" if self.before else "after"

    @property
    def follows_neighbour(self) -> bool:
        """Whether it comes behind the neighbour; at an end, behind the last."""
        return bool(self.after) or self.at is OrderEnd.BOTTOM
