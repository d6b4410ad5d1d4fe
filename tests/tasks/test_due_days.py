"""Today, this week and overdue are judged in the caller's time zone, around midnight and where clocks change."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from taskmanager.database.database import Database
from taskmanager.tasks.due import IS_OVERDUE, is_due
from taskmanager.tasks.listing.schemas import Due
from tests.conftest import Person
from tests.support.rows import execute, fetch_all, fetch_one
from tests.support.task_lists import listed

# Behind UTC, ahead of it, and as far ahead as there is.
ZONES = ("America/New_York", "Europe/Berlin", "Pacific/Kiritimati")
# Midnight of each zone, at an ordinary time and where the clock goes forward and back, there or elsewhere.
DAYS = (
    date(2026, 7, 1),
    *(date(2026, 3, 8), date(2026, 3, 9), date(2026, 11, 1), date(2026, 11, 2)),
    *(date(2026, 3, 29), date(2026, 3, 30), date(2026, 10, 25), date(2026, 10, 26)),
)
SECOND = timedelta(seconds=1)


def midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def expected(due_at: datetime | None, due_on: date | None, now: datetime, zone: ZoneInfo) -> set[Due]:
    """Return when a task is due, as a calendar on the wall of its reader says."""
    today = now.astimezone(zone).date()
    day = due_on if due_at is None else due_at.astimezone(zone).date()
    if day is None:
        return {Due.NONE}
    found = set()
    if due_at < now if due_at is not None else day < today:
        found.add(Due.OVERDUE)
    if day == today:
        found.add(Due.TODAY)
    if day.isocalendar()[:2] == today.isocalendar()[:2]:
        found.add(Due.WEEK)
    return found


@pytest.mark.parametrize("zone_name", ZONES)
async def test_every_moment_around_midnight(alice: Person, database: Database, zone_name: str) -> None:
    zone = ZoneInfo(zone_name)
    await execute(database, "UPDATE users SET time_zone = :zone WHERE id = :id", zone=zone_name, id=alice.id)
    conditions = ", ".join([*(f"{is_due([one])} AS is_{one}" for one in Due), f"{IS_OVERDUE} AS overdue"])
    for day in DAYS:
        days = [day + timedelta(days=number) for number in range(-9, 10)]
        moments = [midnight(one, zone) + step for one in days for step in (-SECOND, 0 * SECOND, 12 * 3600 * SECOND)]
        for now in (midnight(day, zone) - SECOND, midnight(day, zone), midnight(day, zone) + timedelta(hours=23.5)):
            sql = f"""
                SELECT t.due_at, t.due_on, {conditions}
                FROM (
                    SELECT moment AS due_at, CAST(NULL AS date) AS due_on, 'pending' AS status
                    FROM unnest(CAST(:moments AS timestamptz[])) AS moment
                    UNION ALL SELECT NULL, day, 'pending' FROM unnest(CAST(:days AS date[])) AS day
                    UNION ALL SELECT NULL, NULL, 'pending'
                ) AS t
            """.replace("now()", f"CAST('{now.isoformat()}' AS timestamptz)")
            rows = await fetch_all(database, sql, user_id=alice.id, moments=moments, days=days)
            assert len(rows) == len(moments) + len(days) + 1
            for row in rows:
                found = {one for one in Due if row[f"is_{one}"]}
                assert found == expected(row["due_at"], row["due_on"], now, zone), (now, row)
                assert bool(row["overdue"]) == (Due.OVERDUE in found)


# No two of them ever have the same date, and one of these has that of UTC.
FAR_APART = ("Etc/GMT+12", "UTC", "Pacific/Kiritimati")


@pytest.fixture(params=[500, -1], ids=["few tasks", "many tasks"])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let lists be found among few tasks, or have a statement of their own."""
    monkeypatch.setattr("taskmanager.tasks.listing.repository.FEW", request.param)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("zone_name", FAR_APART)
async def test_lists(alice: Person, database: Database, zone_name: str) -> None:
    await execute(database, "UPDATE users SET time_zone = :zone WHERE id = :id", zone=zone_name, id=alice.id)
    now = (await fetch_one(database, "SELECT now() AS now"))["now"]
    today = now.astimezone(ZoneInfo(zone_name)).date()
    days = {f"{number:+}": today + timedelta(days=number) for number in range(-8, 9)}
    for title, day in days.items():
        await alice.new_task(title=title, due_on=day.isoformat())
    await alice.new_task(title="just now", due_at=(now - SECOND).isoformat())
    await alice.new_task(title="never")
    await alice.new_task(title="done", due_on=days["-1"].isoformat(), status="completed")
    past = {"just now", *(title for title in days if title.startswith("-"))}
    week = {title for title, day in days.items() if day.isocalendar()[:2] == today.isocalendar()[:2]}
    just_now = (now - SECOND).astimezone(ZoneInfo(zone_name)).date()
    of_today = {"+0"} | ({"just now"} if just_now == today else set())
    week |= {"just now"} if just_now.isocalendar()[:2] == today.isocalendar()[:2] else set()
    week |= {"done"} if "-1" in week else set()
    everything = {*days, "just now", "never", "done"}
    for query, titles in (
        ([("due", "overdue")], past),
        ([("overdue", "true")], past),
        ([("overdue", "false")], everything - past),
        ([("due", "today")], of_today),
        ([("due", "week")], week),
        ([("due", "none")], {"never"}),
        ([("due", "today"), ("due", "overdue")], past | of_today),
        ([("due", "none"), ("due", "week")], week | {"never"}),
        ([("due", "week"), ("overdue", "true")], (week & past)),
        ([("due", one) for one in Due], past | week | of_today | {"never"}),
    ):
        for sort_by in ("created_at", "due_at", "due_at,priority"):
            found = await listed(alice, *query, ("sort_by", sort_by))
            assert (len(found), set(found)) == (len(titles), titles), (query, sort_by)


@pytest.mark.usefixtures("few")
async def test_each_reader_has_their_own_today(alice: Person, bob: Person, database: Database) -> None:
    project_id = await alice.new_project()
    await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "viewer"})
    for person, zone in ((alice, "Etc/GMT+12"), (bob, "Pacific/Kiritimati")):
        await execute(database, "UPDATE users SET time_zone = :zone WHERE id = :id", zone=zone, id=person.id)
    now = (await fetch_one(database, "SELECT now() AS now"))["now"]
    for person, zone in ((alice, "Etc/GMT+12"), (bob, "Pacific/Kiritimati")):
        day = now.astimezone(ZoneInfo(zone)).date().isoformat()
        await alice.new_task(project_id, title=person.username, due_on=day)
    path = f"/projects/{project_id}/tasks"
    for person in (alice, bob):
        assert await listed(person, ("due", "today"), path=path) == [person.username]
    assert await listed(alice, ("overdue", "true"), path=path) == []
    assert await listed(bob, ("overdue", "true"), path=path) == ["alice"]


@pytest.mark.usefixtures("few")
async def test_a_day_counts_as_its_last_moment_in_utc(alice: Person) -> None:
    await alice.new_task(title="January", due_on="2026-01-31")
    await alice.new_task(title="midnight", due_at="2026-02-01T00:00:00Z")
    await alice.new_task(title="first", due_on="2026-02-01")
    await alice.new_task(title="last", due_on="2026-02-28")
    await alice.new_task(title="March", due_at="2026-03-01T00:00:00Z")
    february = (("due_after", "2026-02-01T00:00:00Z"), ("due_before", "2026-03-01T00:00:00Z"))
    for sort_by in ("due_at", "due_at,title"):
        order = (("sort_by", sort_by), ("order", "asc"))
        assert await listed(alice, *february, *order) == ["midnight", "first", "last"]
        assert await listed(alice, ("due_before", "2026-02-01T00:00:00Z"), *order) == ["January"]
        assert await listed(alice, ("due_after", "2026-01-31T23:59:59.999999Z"), *order) == [
            *("January", "midnight", "first", "last", "March")
        ]
        assert await listed(alice, ("due_after", "2026-02-28T23:59:59.999999Z"), *order) == ["last", "March"]
