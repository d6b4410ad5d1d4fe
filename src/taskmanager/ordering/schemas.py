"""Where a thing is put, as a request says it."""

from typing import Literal, Self

from pydantic import model_validator

from taskmanager.field_types import UNCHANGED, Id, RequestModel


class Place(RequestModel):
    """A place in an order: before or after another thing, or at an end."""

    before: Id = UNCHANGED
    after: Id = UNCHANGED
    at: Literal["top", "bottom"] = UNCHANGED

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
        return bool(self.after) or self.at == "bottom"
