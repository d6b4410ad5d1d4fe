"""What a first look finds: an account with two projects, some tasks and a comment."""

from datetime import UTC, datetime, timedelta

from taskmanager.accounts.password.hashing import PasswordHasher
from taskmanager.accounts.repository import AccountWriter
from taskmanager.comments.repository import CommentWriter
from taskmanager.database.statements import Statement
from taskmanager.database.writes import WriteRunner, Writes, open_writes
from taskmanager.projects.repository import ProjectWriter
from taskmanager.projects.schemas import ProjectCreate
from taskmanager.settings import DatabaseSettings
from taskmanager.tasks.repository import TaskWriter
from taskmanager.tasks.schemas import TaskCreate, TaskStatus

USERNAME = "demo"
PASSWORD = "demo-password"  # noqa: S105  # public on purpose, and only ever in the embedded database
LOGIN = f"Demo login         {USERNAME} / {PASSWORD}"

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
    projects, tasks, comments = ProjectWriter(run), TaskWriter(run), CommentWriter(run)
    today = datetime.now(UTC).replace(hour=17, minute=0, second=0, microsecond=0)
    website = await projects.create(
        ProjectCreate(name="Website", description="The new website, from first sketch to launch."), user_id=user.id
    )
    garden = await projects.create(ProjectCreate(name="Garden", description=None), user_id=user.id)
    plan = (
        (website.id, TaskCreate(title="Sketch the start page", status=TaskStatus.COMPLETED, tags=["design"])),
        (website.id, TaskCreate(title="Write the copy", status=TaskStatus.IN_PROGRESS, priority=4)),
        (website.id, TaskCreate(title="Launch", priority=5, due_at=today + timedelta(days=14))),
        (garden.id, TaskCreate(title="Prune the apple tree", tags=["trees"], due_at=today + timedelta(days=7))),
        (garden.id, TaskCreate(title="Order seeds", priority=2, assignee_id=user.id)),
        (None, TaskCreate(title="Try the API", description="Open /docs and press Authorize.", priority=3)),
    )
    created = [await tasks.create(task, user_id=user.id, project_id=project_id) for project_id, task in plan]
    copy_id = created[1].id
    assert copy_id is not None
    await comments.create(copy_id, "The first draft is in the shared folder.", user_id=user.id)
