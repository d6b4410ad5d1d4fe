"""Lists show exactly what their caller may see: random people, projects and tasks, under every set of filters."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import combinations
from random import Random
from typing import Any

import pytest
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.conftest import Person, SignUp
from tests.support.rows import fetch_all
from tests.support.sessions import open_transaction

SEED = 20_261
NAMES = ("ann", "ben", "cat", "dan", "eve")
PROJECTS = 7
TASKS_PER_PROJECT = 12
STATUSES = ("pending", "in_progress", "completed", "cancelled")
TAGS = ("red", "green", "blue")
WORDS = ("apple", "pear", "100%", "under_score")
FILTERS = (
    "status",
    "priority",
    "tag",
    "assignee",
    "due_after",
    "due_before",
    "overdue",
    "search",
    "project_id",
)
# One of them goes with each third set of the others.
BESIDE = ("not_status", "not_tag", "not_assignee", "created_by", "due")
# Far from now on both sides, so that what is overdue does not change while the test runs.
PAST = datetime(2020, 1, 1, tzinfo=UTC)
DAYS = (0, 100, 200, 20_000, 20_100, 20_200)


@dataclass
class Model:
    """What everybody may see, kept outside the service."""

    people: list[Person]
    members: dict[int, dict[int, str]]
    tasks: list[dict[str, Any]]
    comments: dict[int, set[int]]

    def visible_projects(self, person: Person) -> set[int]:
        """Return the ids of a person's projects."""
        return {project for project, roles in self.members.items() if person.id in roles}

    def visible_tasks(self, person: Person) -> list[dict[str, Any]]:
        """Return the tasks of a person's projects."""
        projects = self.visible_projects(person)
        return [task for task in self.tasks if task["project_id"] in projects]


async def populate(random: Random, sign_up: SignUp, database: Database) -> Model:
    """Make people, projects that some of them share, tasks and comments."""
    people = [await sign_up(name) for name in NAMES]
    model = Model(people, {person.inbox_id: {person.id: "owner"} for person in people}, [], {})
    for _ in range(PROJECTS):
        owner = random.choice(people)
        project_id = await owner.new_project()
        model.members[project_id] = {owner.id: "owner"}
        for person in random.sample(people, random.randint(0, 3)):
            if person is not owner:
                role = random.choice(("viewer", "editor", "owner"))
                await owner.post(f"/projects/{project_id}/members", {"username": person.username, "role": role})
                model.members[project_id][person.id] = role
    await _add_tasks(random, model, database)
    return model


async def _add_tasks(random: Random, model: Model, database: Database) -> None:
    task = text("""
        INSERT INTO tasks (project_id, title, description, status, priority, tags, due_at, due_on, assignee_id,
                           created_by, completed_at)
        VALUES (:project_id, :title, :description, :status, :priority, string_to_array(:tags, ','), :due_at, :due_on,
                :assignee_id, :created_by, CASE WHEN :status = 'completed' THEN now() END)
        RETURNING id
    """)
    comment = text("INSERT INTO comments (project_id, task_id, body) VALUES (:project_id, :id, 'Hello') RETURNING id")
    async with open_transaction(database) as session:
        for project_id, roles in model.members.items():
            for _ in range(TASKS_PER_PROJECT):
                values: dict[str, Any] = {
                    "project_id": project_id,
                    "title": " ".join(random.sample(WORDS, 2)),
                    "description": random.choice((None, *WORDS)),
                    "status": random.choice(STATUSES),
                    "priority": random.randint(1, 5),
                    "tags": ",".join(sorted(random.sample(TAGS, random.randint(1, 2)))),
                    "due_at": random.choice((None, *(PAST + timedelta(days) for days in DAYS))),
                    "due_on": None,
                    "assignee_id": random.choice((None, *roles)),
                    "created_by": random.choice((None, *roles)),
                }
                if values["due_at"] is None:
                    values["due_on"] = random.choice((None, *((PAST + timedelta(days)).date() for days in DAYS)))
                values["id"] = (await session.execute(task, values)).scalar_one()
                model.tasks.append(values)
                keys = {"project_id": project_id, "id": values["id"]}
                model.comments[values["id"]] = {
                    (await session.execute(comment, keys)).scalar_one() for _ in range(random.randint(0, 2))
                }


def some_values(random: Random, name: str, model: Model) -> list[Any]:
    """Return values for a filter; where it names people or projects, foreign ones among them."""
    choices: dict[str, Iterable[Any]] = {
        "status": STATUSES,
        "priority": range(1, 6),
        "tag": (*TAGS, "GREEN"),
        "assignee": ("me", "none", *(person.id for person in model.people)),
        "created_by": ("me", *(person.id for person in model.people)),
        "not_status": STATUSES[2:],
        "not_tag": TAGS[:2],
        "not_assignee": ("me", "none", model.people[0].id),
        "due": ("none", "overdue", "today", "week"),
        "project_id": list(model.members),
    }
    if name in choices:
        values = list(choices[name])
        return random.sample(values, random.randint(2, min(4, len(values))))
    single: dict[str, list[Any]] = {
        "due_after": [PAST + timedelta(random.choice(DAYS[:3]))],
        "due_before": [PAST + timedelta(random.choice(DAYS[3:]))],
        "overdue": [random.choice((True, False))],
        "search": [random.choice(("a", "PEAR", "%", "_", "r_s", "apple pear"))],
    }
    return single[name]


def matches(task: dict[str, Any], query: dict[str, list[Any]], person: Person) -> bool:
    """Tell whether a task passes all filters."""
    now = datetime.now(UTC)
    # A day ends in UTC, the zone of all of them, and its last moment counts.
    due = task["due_at"] or (task["due_on"] and datetime.combine(task["due_on"], time.max, UTC))
    overdue = bool(due) and due < now and task["status"] not in {"completed", "cancelled"}
    texts = (task["title"].lower(), (task["description"] or "").lower())
    tests: dict[str, Callable[[list[Any]], bool]] = {
        "status": lambda values: task["status"] in values,
        "priority": lambda values: task["priority"] in values,
        "tag": lambda values: bool({value.lower() for value in values} & set(task["tags"].split(","))),
        "assignee": lambda values: task["assignee_id"] in ids_of(values, person),
        "created_by": lambda values: task["created_by"] in ids_of(values, person) - {None},
        "not_status": lambda values: task["status"] not in values,
        "not_tag": lambda values: not set(values) & set(task["tags"].split(",")),
        "not_assignee": lambda values: task["assignee_id"] not in ids_of(values, person),
        "due": lambda values: (overdue and "overdue" in values) or (due is None and "none" in values),
        "due_after": lambda values: due is not None and due >= values[0],
        "due_before": lambda values: due is not None and due < values[0],
        "overdue": lambda values: overdue == values[0],
        "search": lambda values: any(values[0].lower() in text for text in texts),
        "project_id": lambda values: task["project_id"] in values,
    }
    return all(tests[name](values) for name, values in query.items())


def ids_of(values: list[Any], person: Person) -> set[int | None]:
    """Return the people whom a filter of a person names, None for nobody."""
    return {person.id if value == "me" else None if value == "none" else value for value in values}


def parameters(query: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    """Return a query as it is sent."""
    return [
        (name, value.isoformat() if isinstance(value, datetime) else str(value).lower() if name == "overdue" else value)
        for name, values in query.items()
        for value in values
    ]


async def listed(person: Person, path: str, query: dict[str, list[Any]]) -> set[int]:
    """Return the ids of all pages of a list."""
    found: set[int] = set()
    page: dict[str, Any] = {"total": 1}
    while len(found) < page["total"]:
        sent = [*parameters(query), ("limit", 100), ("skip", len(found))]
        page = (await person.get(path, params=sent)).json()
        fresh = {task["id"] for task in page["tasks"]} - found
        assert len(fresh) == len(page["tasks"]), "a task is listed twice"
        if not fresh:
            break
        found |= fresh
    assert page["total"] == len(found)
    return found


def every_set_of_filters() -> Iterator[tuple[str, ...]]:
    """Yield all 512 of them, none and all included."""
    for size in range(len(FILTERS) + 1):
        yield from combinations(FILTERS, size)


@pytest.fixture
async def model(sign_up: SignUp, database: Database) -> Model:
    """The same people, projects and tasks on every run."""
    return await populate(Random(SEED), sign_up, database)


async def test_task_lists_equal_the_model_under_every_combination_of_filters(model: Model) -> None:
    random = Random(SEED + 1)
    sets = list(every_set_of_filters())
    filled = 0
    foreign_hidden = 0
    for number, names in enumerate(sets):
        person = model.people[number % len(model.people)]
        beside = random.sample(BESIDE, 1) if number % 3 == 0 else ()
        query = {name: some_values(random, name, model) for name in (*names, *beside)}
        visible = {task["id"] for task in model.visible_tasks(person)}
        wanted = {task["id"] for task in model.visible_tasks(person) if matches(task, query, person)}
        foreign_hidden += any(matches(task, query, person) for task in model.tasks if task["id"] not in visible)
        found = await listed(person, "/tasks", query)
        assert found <= visible, (person.username, query, found - visible)
        assert found == wanted, (person.username, query, found ^ wanted)
        filled += bool(found)
    assert len(sets) == 2 ** len(FILTERS)
    # Most of them must say something: lists that are not empty, and foreign tasks that match but stay hidden.
    assert filled > len(sets) / 4
    assert foreign_hidden > len(sets) / 2


async def test_project_task_lists_equal_the_model_under_every_combination_of_filters(model: Model) -> None:
    random = Random(SEED + 2)
    refused = filled = 0
    sets = [names for names in every_set_of_filters() if "project_id" not in names]
    for number, names in enumerate(sets):
        person = model.people[number % len(model.people)]
        project_id = random.choice(list(model.members))
        beside = random.sample(BESIDE, 1) if number % 3 == 0 else ()
        query = {name: some_values(random, name, model) for name in (*names, *beside)}
        path = f"/projects/{project_id}/tasks"
        if project_id not in model.visible_projects(person):
            await person.get(path, params=parameters(query), expect=404)
            refused += 1
            continue
        wanted = {t["id"] for t in model.tasks if t["project_id"] == project_id and matches(t, query, person)}
        assert await listed(person, path, query) == wanted, (person.username, query)
        filled += bool(wanted)
    assert refused > len(sets) / 4
    assert filled > len(sets) / 20


async def test_a_list_of_named_projects_leaves_the_foreign_ones_out(model: Model) -> None:
    for person in model.people:
        every_project = {"project_id": list(model.members)}
        foreign = {"project_id": [p for p in model.members if p not in model.visible_projects(person)]}
        assert await listed(person, "/tasks", every_project) == {task["id"] for task in model.visible_tasks(person)}
        assert await listed(person, "/tasks", foreign) == set()


async def test_project_member_and_comment_lists_equal_the_model(model: Model, database: Database) -> None:
    for person in model.people:
        visible = model.visible_projects(person)
        projects = (await person.get("/projects")).json()["projects"]
        assert {project["id"]: project["role"] for project in projects} == {
            project: model.members[project][person.id] for project in visible
        }
        for project, roles in model.members.items():
            answer = await person.get(f"/projects/{project}/members", expect=200 if project in visible else 404)
            if project in visible:
                assert {m["user_id"]: m["role"] for m in answer.json()["members"]} == roles
        for task in model.tasks[::3]:
            seen = task["project_id"] in visible
            answer = await person.get(f"/tasks/{task['id']}/comments", expect=200 if seen else 404)
            if seen:
                assert {comment["id"] for comment in answer.json()["comments"]} == model.comments[task["id"]]
    rows = await fetch_all(database, "SELECT project_id, user_id, role FROM project_members")
    assert {(row["project_id"], row["user_id"], row["role"]) for row in rows} == {
        (project, user, role) for project, roles in model.members.items() for user, role in roles.items()
    }


async def test_sessions_and_keys_are_only_the_callers(model: Model) -> None:
    for person in model.people:
        await person.post("/users/me/api-keys", {"name": person.username, "scopes": ["account"]})
    for person in model.people:
        keys = (await person.get("/users/me/api-keys")).json()["api_keys"]
        assert [key["name"] for key in keys] == [person.username]
        sessions = (await person.get("/users/me/sessions")).json()["sessions"]
        assert [session["id"] for session in sessions] == [person.session_id]
