"""What features declare about the things that clients follow through the event log."""

from dataclasses import dataclass

from pydantic import BaseModel


@dataclass(frozen=True)
class FollowedEntity:
    """A kind of thing in projects whose changes are in the event log under `name`.

    In its SQL, `r` is a row of `table`, with `joins` if it needs any, and `m` the membership of the caller in the row's
    project. `row` is the text of the JSON object that GET answers, which `schema` describes. Ids are the same in every
    project, so that a row keeps its own when it is moved, unless it `is_bound` to its project. The rows of a child have
    the id of their `parent` in `parent_id`, move with it and are gone with it. `row_for_all` is the row without what
    depends on the caller, for followers who all get the same; None if that is nothing.
    """

    name: str
    table: str
    row: str
    schema: type[BaseModel]
    joins: str = ""
    id: str = "r.id"
    project_id: str = "r.project_id"
    is_bound: bool = False
    parent: str | None = None
    parent_id: str = ""
    row_for_all: str | None = None

    @property
    def common_row(self) -> str:
        """SQL for the text of the row's JSON object, without `m`."""
        return self.row if self.row_for_all is None else self.row_for_all

    @property
    def item(self) -> str:
        """SQL for the text of the JSON object with which a follower learns of a row."""
        return (
            f"""concat('{{"entity":"{self.name}","id":', {self.id}, ',"project_id":', {self.project_id}, """
            f"""',"version":', r.version, ',"deleted":', 'false,"{self.name}":', {self.row}, '}}')"""
        )

    def source(self, user_id: str = ":user_id") -> str:
        """Return SQL for the rows that a user may see, as what follows FROM."""
        return (
            f"{self.table} r {self.joins} "
            f"JOIN project_members m ON m.project_id = {self.project_id} AND m.user_id = {user_id}"
        )
