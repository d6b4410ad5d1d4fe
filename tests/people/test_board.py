"""A board of 200 cards comes with names, counts, order and columns in three requests."""

from typing import Any

from taskmanager.database.database import Database
from tests.conftest import Person, SignUp
from tests.support.rows import execute, fetch_all

CARDS = 200
PAGE = 100


async def fill(database: Database, project_id: int, people: list[int], sections: list[int]) -> None:
    """Store the cards, made by and for these people and in these sections in turn; card n has n % 4 comments."""
    await execute(
        database,
        """
        INSERT INTO tasks (project_id, title, created_by, assignee_id, section_id, created_at)
        SELECT :project_id, 'Card ' || n, people[1 + n % 3], people[1 + n % 2], sections[1 + n % 3],
               now() - make_interval(secs => n)
        FROM generate_series(1, :cards) AS n,
             CAST(:people AS bigint[]) AS people, CAST(:sections AS bigint[]) AS sections
        """,
        project_id=project_id,
        people=people,
        sections=sections,
        cards=CARDS,
    )
    await execute(
        database,
        """
        INSERT INTO comments (project_id, task_id, author_id, body)
        SELECT t.project_id, t.id, t.created_by, 'A comment' FROM tasks t, generate_series(1, 3) AS k
        WHERE t.project_id = :project_id AND k <= CAST(substr(t.title, 6) AS integer) % 4
        """,
        project_id=project_id,
    )


async def test_a_board_is_three_requests(
    alice: Person, bob: Person, garden: int, sign_up: SignUp, database: Database, query_recorder: list[str]
) -> None:
    carol = await sign_up("carol")
    await alice.post(f"/projects/{garden}/members", {"username": "carol", "role": "editor"})
    people = {
        str(one.id): {"id": one.id, "username": one.username, "display_name": None} for one in (alice, bob, carol)
    }
    columns = [
        (await alice.post(f"/projects/{garden}/sections", {"name": name})).json() for name in ("Next", "Now", "Later")
    ]
    await alice.post(f"/projects/{garden}/sections/{columns[2]['id']}/move", {"at": "top"}, 200)
    await fill(database, garden, [alice.id, bob.id, carol.id], [column["id"] for column in columns])
    moved = (await alice.get(f"/projects/{garden}/tasks", params={"sort_by": "position"})).json()["tasks"][7]
    await alice.post(f"/tasks/{moved['id']}/move", {"at": "top"}, 200)

    query: dict[str, Any] = {"limit": PAGE, "count": "none", "sort_by": "position", "include": ["people", "counts"]}
    cards: list[dict[str, Any]] = []
    cursor = None
    query_recorder.clear()
    sections = (await alice.get(f"/projects/{garden}/sections")).json()["sections"]
    requests = 1
    while requests == 1 or cursor:
        page = (
            await alice.get(f"/projects/{garden}/tasks", params={**query, "cursor": cursor or ""} if cursor else query)
        ).json()
        requests += 1
        assert page["people"] == people
        cards += page["tasks"]
        cursor = page["next_cursor"]
    # The login is checked in the statement of the page.
    assert (requests, len(query_recorder)) == (3, 3)

    assert [section["name"] for section in sections] == ["Later", "Next", "Now"]
    assert {card["section_id"] for card in cards} == {section["id"] for section in sections}
    assert cards[0]["id"] == moved["id"]
    in_order = "SELECT id FROM tasks WHERE project_id = :id ORDER BY COALESCE(position, position_of(id)), id"
    stored = await fetch_all(database, in_order, id=garden)
    assert [card["id"] for card in cards] == [row["id"] for row in stored]
    assert len(cards) == CARDS
    stored = await fetch_all(
        database, "SELECT task_id AS id, count(*) AS n FROM comments WHERE project_id = :id GROUP BY 1", id=garden
    )
    assert {card["id"]: card["comment_count"] for card in cards if card["comment_count"]} == {
        row["id"]: row["n"] for row in stored
    }
    assert {card["comment_count"] for card in cards} == {0, 1, 2, 3}
    assert {str(card["created_by"]) for card in cards} == set(people)


async def test_one_statement_reads_a_task_and_what_belongs_to_it(
    alice: Person, garden: int, query_recorder: list[str]
) -> None:
    task = await alice.new_task(garden)
    for _ in range(3):
        await alice.post(f"/tasks/{task['id']}/comments", {"body": "A comment"})
    query_recorder.clear()
    shown = (await alice.get(f"/tasks/{task['id']}", params={"include": ["people", "counts"]})).json()
    assert len(query_recorder) == 1
    assert shown.pop("people") == {str(alice.id): {"id": alice.id, "username": "alice", "display_name": None}}
    assert shown == {**task, "comment_count": 3}
    # Those that are not asked for are not there.
    assert "people" not in (await alice.get(f"/tasks/{task['id']}", params={"include": "counts"})).json()
    assert "comment_count" not in (await alice.get(f"/tasks/{task['id']}", params={"include": "people"})).json()


async def test_counts_come_with_every_order_and_filter(alice: Person, garden: int) -> None:
    task = await alice.new_task(garden, due_at="2030-01-01T00:00:00Z", tags=["a"], assignee_id=alice.id)
    await alice.new_task(garden)
    await alice.post(f"/tasks/{task['id']}/comments", {"body": "A comment"})
    queries: tuple[dict[str, Any], ...] = (
        *({"sort_by": sort_by} for sort_by in ("created_at", "updated_at", "priority", "title", "due_at")),
        {"status": "pending"},
        {"tag": "a"},
        {"assignee": "me", "sort_by": "due_at", "order": "asc"},
        {"search": "task"},
        {"project_id": [garden, alice.inbox_id]},
    )
    for query in queries:
        for count in ("none", "exact"):
            page = (await alice.get("/tasks", params={**query, "count": count, "include": "counts"})).json()
            assert "people" not in page
            counts = {card["id"]: card["comment_count"] for card in page["tasks"]}
            assert counts[task["id"]] == 1, query
            assert sum(counts.values()) == 1


async def test_comments_that_come_and_go_and_move_are_counted(alice: Person, garden: int) -> None:
    task = await alice.new_task()
    path = f"/tasks/{task['id']}"

    async def counted() -> int:
        return int((await alice.get(path, params={"include": "counts"})).json()["comment_count"])

    first = (await alice.post(f"{path}/comments", {"body": "One"})).json()
    await alice.post(f"{path}/comments", {"body": "Two"})
    assert await counted() == 2
    await alice.patch(path, {"project_id": garden})
    assert await counted() == 2
    await alice.delete(f"{path}/comments/{first['id']}")
    assert await counted() == 1
