"""What a first look finds: an account with two projects, a board with tasks, and comments."""

from datetime import UTC, date, datetime, timedelta

from taskmanager.accounts.password.hashing import PasswordHasher
from taskmanager.accounts.repository import AccountWriter
from taskmanager.comments.repository import CommentWriter
from taskmanager.database.statements import Statement
from taskmanager.database.writes import WriteRunner, Writes, Written, open_writes
from taskmanager.database_settings import DatabaseSettings
from taskmanager.projects.repository import ProjectWriter
from taskmanager.projects.schemas import ProjectCreate
from taskmanager.sections.repository import SectionWriter
from taskmanager.sections.schemas import SectionCreate
from taskmanager.tasks.repository import TaskWriter
from taskmanager.tasks.schemas import TaskCreate, TaskStatus

USERNAME = "demo"
PASSWORD = "demo-password"  # noqa: S105  # public on purpose, and only ever in the embedded database
LOGIN = f"Demo login         {USERNAME} / {PASSWORD}"

_COMMENTS = {
    "Write the copy": ["The first draft is in the shared folder.", "Shorter sentences on the start page, please."],
    "Lead old addresses to new pages": ["The list has 214 of them; most are photographs."],
    "Contact form": ["It should say when we answer."],
}
_HAS_USERS = Statement("look for users", "SELECT EXISTS (SELECT FROM users) AS has_users")


async def seed_demo(writes: Writes, hasher: PasswordHasher) -> bool:
    """Fill a database that never had a user; return whether it was one."""
    password_hash = await hasher.hash(PASSWORD)
    async with writes.transaction() as run:
        found = await run.one(_HAS_USERS)
        if found is None or found["has_users"]:
            return False
        await _seed(run, password_hash)
    return True


async def seed_database(settings: DatabaseSettings) -> None:
    """Fill the database of these settings, if it never had a user."""
    hasher = PasswordHasher(threads=1, queue=1)
    try:
        async with open_writes(settings) as writes:
            await seed_demo(writes, hasher)
    finally:
        hasher.close()


async def _seed(run: WriteRunner, password_hash: str) -> None:
    user = await AccountWriter(run).create(
        username=USERNAME, email="demo@example.com", password_hash=password_hash, is_admin=True
    )
    projects, sections, tasks, comments = ProjectWriter(run), SectionWriter(run), TaskWriter(run), CommentWriter(run)
    website = await projects.create(
        ProjectCreate(name="Website", description="The new website, from first sketch to launch."), user_id=user.id
    )
    garden = await projects.create(ProjectCreate(name="Garden", description=None), user_id=user.id)
    places: dict[str, tuple[int | None, int | None]] = {"Garden": (garden.id, None), "Inbox": (None, None)}
    for name in ("Ideas", "Doing", "Review", "Launched"):
        section = await sections.create(_known(website), SectionCreate(name=name), user_id=user.id)
        places[name] = website.id, section.id
    for place, planned in _plan(datetime.now(UTC)):
        project_id, section_id = places[place]
        new = planned.model_copy(update={"assignee_id": user.id, "section_id": section_id})
        task = await tasks.create(new, user_id=user.id, project_id=project_id)
        for body in _COMMENTS.get(new.title, ()):
            await comments.create(_known(task), body, user_id=user.id)


def _known(written: Written) -> int:
    assert written.id is not None
    return written.id


def _plan(now: datetime) -> list[tuple[str, TaskCreate]]:
    """Return tasks, each with its column or project, due in the days around now."""

    def day(days: int) -> date:
        return (now + timedelta(days=days)).date()

    launch = now.replace(hour=17, minute=0, second=0, microsecond=0) + timedelta(days=14)
    done, doing = TaskStatus.COMPLETED, TaskStatus.IN_PROGRESS
    return [
        ("Launched", TaskCreate(title="Sketch the start page", status=done, tags=["design"])),
        ("Doing", TaskCreate(title="Write the copy", status=doing, priority=4, tags=["text"])),
        ("Ideas", TaskCreate(title="Launch", priority=5, tags=["release"], due_at=launch)),
        ("Ideas", TaskCreate(title="Ask three customers what they look for first", priority=3, tags=["research"])),
        ("Ideas", TaskCreate(title="Opening hours by season", priority=2, due_on=day(9))),
        ("Ideas", TaskCreate(title="A newsletter, four times a year", tags=["text"])),
        ("Doing", TaskCreate(title="Lead old addresses to new pages", status=doing, priority=5, due_on=day(-1))),
        ("Doing", TaskCreate(title="Photograph the workshop", status=doing, tags=["design"], due_on=day(1))),
        ("Review", TaskCreate(title="Contact form", status=doing, priority=3, tags=["code"], due_on=day(0))),
        ("Review", TaskCreate(title="Read every page with a screen reader", status=doing, tags=["access", "code"])),
        ("Launched", TaskCreate(title="Choose a typeface", status=done, tags=["design"])),
        ("Launched", TaskCreate(title="Register the domain", status=done, tags=["release"])),
        ("Garden", TaskCreate(title="Prune the apple tree", tags=["trees"], due_on=day(7))),
        ("Garden", TaskCreate(title="Order seeds", priority=2)),
        ("Inbox", TaskCreate(title="Try the API", description="Open /docs and press Authorize.", priority=3)),
    ]
