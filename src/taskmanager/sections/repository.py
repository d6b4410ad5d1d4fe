"""Reads and writes sections of projects."""

from collections.abc import Sequence

import asyncpg

from taskmanager.database.reads import Document, Reads
from taskmanager.database.writes import Runner, WriteRunner, Written
from taskmanager.errors import InvalidValueError, LimitReachedError, NotFoundError, TooManyTasksError
from taskmanager.events.repository import check_version
from taskmanager.http.preconditions import NO_CONDITION, IfMatch
from taskmanager.ordering.keys import key_between, renew_keys
from taskmanager.ordering.schemas import Place
from taskmanager.projects.access import require_writer
from taskmanager.sections.schemas import MOST_SECTIONS, SectionCreate, SectionUpdate
from taskmanager.sections.statements import (
    CREATE,
    DELETE,
    FIND,
    FIND_VERSION,
    LIST,
    LOCK_ORDER,
    LOCK_TO_DELETE,
    MOST_TASKS,
    MOVE,
    ORDER,
    UPDATE,
)


class SectionReader:
    """Reads sections of projects that the caller is a member of."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def find(self, section_id: int, *, project_id: int, user_id: int) -> Document:
        """Return one section.

        Raises:
            NotFoundError: There is no such section in that project that the caller may see.
        """
        row = await self._reads.one(FIND, section_id=section_id, project_id=project_id, user_id=user_id)
        if row is None:
            raise NotFoundError("section")
        return Document(row["version"], row["body"])

    async def find_version(self, section_id: int, *, project_id: int, user_id: int) -> int:
        """Return the version of a section, without reading the rest of it.

        Raises:
            NotFoundError: There is no such section in that project that the caller may see.
        """
        row = await self._reads.one(FIND_VERSION, section_id=section_id, project_id=project_id, user_id=user_id)
        if row is None:
            raise NotFoundError("section")
        version: int = row["version"]
        return version

    async def list_all(self, project_id: int, *, user_id: int) -> bytes:
        """Return the sections of a project in their order, as JSON objects with commas between.

        Raises:
            NotFoundError: There is no such project that the caller may see.
        """
        row = await self._reads.one(LIST, project_id=project_id, user_id=user_id)
        if row is None:
            raise NotFoundError("project")
        return row["items"] or b""


class SectionWriter:
    """Writes sections."""

    def __init__(self, writes: WriteRunner) -> None:
        self._writes = writes

    async def create(self, project_id: int, new: SectionCreate, *, user_id: int) -> Written:
        """Store a section behind the others of its project.

        Raises:
            NotFoundError: There is no such project that the caller may see.
            RoleTooLowError: The caller may only read it.
            ProjectArchivedError: It is archived.
            LimitReachedError: It has as many sections as it may have.
        """
        async with self._writes.transaction() as run:
            access = await _lock_order(run, project_id, user_id)
            require_writer(access["role"], archived=access["archived"])
            row = await run.last(CREATE, project_id=project_id, user_id=user_id, name=new.name)
            if row is None:
                raise NotFoundError("project")
            if not row["done"]:
                require_writer(row["role"], archived=row["archived"])  # archived meanwhile
                raise LimitReachedError("sections", MOST_SECTIONS)
        return Written(row["id"], row["version"], row["body"])

    async def update(
        self,
        section_id: int,
        changes: SectionUpdate,
        *,
        project_id: int,
        user_id: int,
        condition: IfMatch = NO_CONDITION,
    ) -> Written:
        """Change the given fields and return the section; without any difference nothing is written.

        Raises:
            NotFoundError: There is no such section in that project that the caller may see.
            RoleTooLowError: The caller may only read the project.
            ProjectArchivedError: It is archived.
            PreconditionRequiredError: A condition is demanded and none was given.
            StaleVersionError: The section is at another version than the condition names.
        """
        patch = changes.model_dump_json(exclude_unset=True)
        row = await self._writes.one(
            UPDATE,
            section_id=section_id,
            project_id=project_id,
            user_id=user_id,
            patch=patch,
            versions=condition.versions,
        )
        return await _written(self._writes, row, condition, user_id, section_id)

    async def move(
        self, section_id: int, place: Place, *, project_id: int, user_id: int, condition: IfMatch = NO_CONDITION
    ) -> Written:
        """Put a section to another place in the order of its project, and return it.

        Raises:
            NotFoundError: There is no such section, or no such neighbour, in that project that the caller may see.
            InvalidValueError: The section is its own neighbour.
            RoleTooLowError: The caller may only read the project.
            ProjectArchivedError: It is archived.
            PreconditionRequiredError: A condition is demanded and none was given.
            StaleVersionError: The section is at another version than the condition names.
        """
        if place.neighbour_id == section_id:
            raise InvalidValueError(("body", place.neighbour_field), "is the section itself")
        async with self._writes.transaction() as run:
            access = await _lock_order(run, project_id, user_id)
            order = await run.all(ORDER, project_id=project_id)
            keys = _new_keys([(row["id"], row["key"]) for row in order], section_id, place)
            require_writer(access["role"], archived=access["archived"])  # who may not write has locked nothing
            row = await run.last(
                MOVE,
                section_id=section_id,
                project_id=project_id,
                user_id=user_id,
                moved_ids=list(keys),
                positions=list(keys.values()),
                versions=condition.versions,
            )
            return await _written(run, row, condition, user_id, section_id)

    async def delete(
        self, section_id: int, *, project_id: int, user_id: int, condition: IfMatch = NO_CONDITION
    ) -> None:
        """Delete a section; its tasks stay, without a section.

        Raises:
            NotFoundError: There is no such section in that project that the caller may see.
            RoleTooLowError: The caller may only read the project.
            ProjectArchivedError: It is archived.
            PreconditionRequiredError: A condition is demanded and none was given.
            StaleVersionError: The section is at another version than the condition names.
            TooManyTasksError: More tasks are in it than one request may change.
        """
        async with self._writes.transaction(long=True) as run:
            row = await run.one(LOCK_TO_DELETE, section_id=section_id, project_id=project_id, user_id=user_id)
            if row is None:
                raise NotFoundError("project")
            require_writer(row["role"], archived=row["archived"])
            if row["version"] is None:
                raise NotFoundError("section")
            await check_version(run, condition, row["version"], user_id=user_id, entity="section", entity_id=section_id)
            if row["tasks"] > MOST_TASKS:
                raise TooManyTasksError(row["tasks"], MOST_TASKS)
            await run.last(DELETE, section_id=section_id, project_id=project_id, user_id=user_id)


async def _lock_order(run: Runner, project_id: int, user_id: int) -> asyncpg.Record:
    row = await run.one(LOCK_ORDER, project_id=project_id, user_id=user_id)
    if row is None:
        raise NotFoundError("project")
    return row


def _new_keys(order: Sequence[tuple[int, str]], section_id: int, place: Place) -> dict[int, str]:
    """Return the keys that sections get, by their ids, the moved one's first."""
    own = next((key for one, key in order if one == section_id), None)
    if own is None:
        raise NotFoundError("section")
    others = [(one, key) for one, key in order if one != section_id]
    index = len(others) if place.follows_neighbour else 0
    if place.neighbour_id is not None:
        ids = [one for one, _ in others]
        if place.neighbour_id not in ids:
            raise NotFoundError("section")
        index = ids.index(place.neighbour_id) + place.follows_neighbour
    before, after = others[:index], others[index:]
    low, high = before[-1][1] if before else None, after[0][1] if after else None
    if (low is None or low < own) and (high is None or own < high):
        return {section_id: own}
    key = key_between(low, high, section_id)
    return renew_keys(before, section_id, after) if key is None else {section_id: key}


async def _written(
    run: Runner, row: asyncpg.Record | None, condition: IfMatch, user_id: int, section_id: int
) -> Written:
    if row is None:
        raise NotFoundError("project")
    if not row["done"]:
        require_writer(row["role"], archived=row["archived"])
        if row["found_version"] is None:
            raise NotFoundError("section")
        await check_version(
            run, condition, row["found_version"], user_id=user_id, entity="section", entity_id=section_id
        )
    return Written(row["id"], row["version"], row["body"])
