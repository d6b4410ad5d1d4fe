"""A client's copy of what it sees, kept by changes alone, and the same read by all the GETs."""

from typing import Any

from tests.conftest import Person

# (entity, project of a member, id): the row.
Rows = dict[tuple[str, int, int], dict[str, Any]]


class Mirror:
    """The copy of one client: each page is applied in its order, and the cursor is kept."""

    def __init__(self, person: Person, limit: int = 200, **filters: Any) -> None:
        self.person = person
        self.limit = limit
        self.filters = filters
        self.cursor: str | None = None
        self.rows: Rows = {}
        self.pages = 0

    async def turn_page(self, **options: Any) -> dict[str, Any]:
        """Ask for one page, apply it and return it."""
        parameters = {"limit": self.limit, **self.filters, **options}
        if self.cursor is not None:
            parameters["since"] = self.cursor
        page: dict[str, Any] = (await self.person.get("/changes", params=parameters)).json()
        self.apply(page)
        return page

    def apply(self, page: dict[str, Any]) -> None:
        """Apply a page."""
        self.pages += 1
        keys = [key_of(item) for item in page["changes"]]
        assert len(set(keys)) == len(keys), "a thing comes once in a page"
        for item in page["changes"]:
            if item["deleted"]:
                self.forget(item)
            else:
                self.put(item)
        self.cursor = page["cursor"]

    async def catch_up(self, most_pages: int = 10_000) -> Rows:
        """Ask for pages until there is nothing new, and return the rows."""
        for _ in range(most_pages):
            if not (await self.turn_page())["has_more"]:
                return self.rows
        raise AssertionError("the pages do not end")

    def put(self, item: dict[str, Any]) -> None:
        """Keep a row as it is now."""
        row = item[item["entity"]]
        assert item["version"] == row["version"]
        self.rows[key_of(item)] = row

    def forget(self, item: dict[str, Any]) -> None:
        """Take away what is gone, with what belongs to it."""
        entity, _, thing = key_of(item)
        self.rows.pop(key_of(item), None)
        if entity == "project":
            self.rows = {
                key: row
                for key, row in self.rows.items()
                if (key[0] != "member" and row.get("project_id") != thing) or (key[0] == "member" and key[1] != thing)
            }
        elif entity == "task":
            self.rows = {
                key: row for key, row in self.rows.items() if not (key[0] == "comment" and row["task_id"] == thing)
            }


def key_of(item: dict[str, Any]) -> tuple[str, int, int]:
    """Return what names a thing; a member is named within its project."""
    return item["entity"], item["project_id"] if item["entity"] == "member" else 0, item["id"]


async def read_everything(person: Person) -> Rows:
    """Return what a person sees, by the GETs of projects, members, sections, tasks and comments."""
    rows: Rows = {}
    for project in await _all(person, "/projects", "projects"):
        rows["project", 0, project["id"]] = project
        for member in await _all(person, f"/projects/{project['id']}/members", "members"):
            rows["member", project["id"], member["user_id"]] = member
        for section in (await person.get(f"/projects/{project['id']}/sections")).json()["sections"]:
            rows["section", 0, section["id"]] = section
        for task in await _all(person, f"/projects/{project['id']}/tasks", "tasks"):
            rows["task", 0, task["id"]] = task
            for comment in await _all(person, f"/tasks/{task['id']}/comments", "comments"):
                rows["comment", 0, comment["id"]] = comment
    return rows


async def _all(person: Person, path: str, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        parameters = {"limit": 100, **({} if cursor is None else {"cursor": cursor})}
        page = (await person.get(path, params=parameters)).json()
        found += page[name]
        cursor = page["next_cursor"]
        if cursor is None:
            return found
