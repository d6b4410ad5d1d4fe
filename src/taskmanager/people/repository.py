"""Reads people whom the caller may see; what they have in common is part of each WHERE clause."""

from collections.abc import Sequence

from taskmanager.database.reads import Reads
from taskmanager.database.statements import Statement
from taskmanager.errors import NotFoundError
from taskmanager.people.statements import PERSON


def _has_row(table: str, column: str) -> str:
    """Return SQL for whether a person has a row of a table in one of the caller's projects.

    LIMIT has PostgreSQL look into the index for each membership.
    """
    return f"""EXISTS (
        SELECT FROM project_members mine CROSS JOIN LATERAL (
            SELECT FROM {table} r WHERE r.{column} = person.id AND r.project_id = mine.project_id LIMIT 1
        ) AS one WHERE mine.user_id = :user_id
    )"""


# Assignees are members. A person who has left, or who wrote before a task was moved here, is known by their rows alone.
_IS_SEEN = f"""(
    EXISTS (
        SELECT FROM project_members mine
        JOIN project_members theirs ON theirs.project_id = mine.project_id AND theirs.user_id = person.id
        WHERE mine.user_id = :user_id
    ) OR {_has_row("tasks", "created_by")} OR {_has_row("comments", "author_id")}
)"""

_FIND = Statement(
    "find person",
    f"SELECT convert_to({PERSON}, 'UTF8') AS body FROM users person WHERE person.id = :person_id AND {_IS_SEEN}",
    shared=True,
)

_LIST = Statement(
    "list people",
    f"""
SELECT convert_to(string_agg({PERSON}, ',' ORDER BY person.place), 'UTF8') AS items
FROM (
    SELECT one.*, asked.place FROM unnest(:person_ids) WITH ORDINALITY AS asked (id, place)
    CROSS JOIN LATERAL (SELECT * FROM users person WHERE person.id = asked.id AND {_IS_SEEN} OFFSET 0) AS one
) AS person
""",
    shared=True,
    most_shared=32,
)


class PersonReader:
    """Reads members of the caller's projects, and authors and creators of rows there."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def find(self, person_id: int, *, user_id: int) -> bytes:
        """Return one person as JSON.

        Raises:
            NotFoundError: There is nobody of this id whom the caller may see.
        """
        row = await self._reads.one(_FIND, person_id=person_id, user_id=user_id)
        if row is None:
            raise NotFoundError("user")
        body: bytes = row["body"]
        return body

    async def list_those(self, person_ids: Sequence[int], *, user_id: int) -> bytes:
        """Return people in the order of the ids as JSON objects with commas between; the others are left out."""
        row = await self._reads.one(_LIST, person_ids=list(dict.fromkeys(person_ids)), user_id=user_id)
        assert row is not None  # an aggregate always gives a row
        return row["items"] or b""
