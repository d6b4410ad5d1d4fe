"""What `taskmanager doctor` says of webhooks."""

from fastapi import FastAPI

from taskmanager.commands.doctor.database import examine_database
from taskmanager.database.database import Database
from tests.conftest import SECRET, Person, make_settings
from tests.support.rows import execute
from tests.support.webhooks import new_hook, pass_time

URL = "https://8.8.8.8/hook"
OTHER = "another secret of the service, of 32 bytes"


async def messages(app: FastAPI, **settings: object) -> list[str]:
    changed = make_settings(database_url=app.state.settings.database_url, **{"webhooks_enabled": True, **settings})
    found = await examine_database(changed, 1)
    return [f"{one.level} {one.message}" for one in found if "webhook" in one.message.lower()]


async def test_nothing_is_said_without_any(app: FastAPI, database: Database) -> None:
    assert await messages(app) == []


async def test_it_names_those_that_need_somebody(alice: Person, app: FastAPI, database: Database) -> None:
    hooks = {}
    for name in ("well", "failing", "gone", "failures", "retention", "paused", "late", "owner"):
        hooks[name] = await new_hook(alice, await alice.new_project(), URL)
    assert await messages(app) == ["ok 8 webhooks"]
    await execute(database, "UPDATE webhooks SET parked_in_row = 3 WHERE id = :id", id=hooks["failing"].id)
    await execute(database, "UPDATE webhooks SET system_id = 1 WHERE id = :id", id=hooks["paused"].id)
    for reason in ("gone", "failures", "retention", "owner"):
        await execute(
            database,
            "UPDATE webhooks SET enabled = false, disabled_reason = :reason WHERE id = :id",
            reason=reason,
            id=hooks[reason].id,
        )
    await alice.new_task(hooks["late"].project_id)
    await pass_time(database, minutes=6)
    found = await messages(app, webhooks_enabled=False)
    assert found[:2] == ["ok 8 webhooks", "warning WEBHOOKS_ENABLED is off: nothing is sent from here"]
    assert len(found) == 8
    for name, words in (
        ("paused", "`taskmanager webhooks resume` starts them"),
        ("failing", "1 webhooks fail"),
        ("gone", "answered 410"),
        ("failures", "failed for five days"),
        ("retention", "events were deleted"),
        ("late", "more than 5 minutes behind"),
    ):
        (line,) = [line for line in found if words in line]
        assert line.startswith("warning ")
        assert line.endswith(f"({hooks[name].path})")


async def test_secrets_that_have_to_be_rotated(alice: Person, app: FastAPI, database: Database) -> None:
    hook = await new_hook(alice, await alice.new_project(), URL)
    rotate = (await messages(app, secret_key=OTHER, secret_key_previous=SECRET))[1:]
    assert len(rotate) == 1
    assert rotate[0].startswith("warning the secrets of 1 webhooks derive from SECRET_KEY_PREVIOUS")
    lost = (await messages(app, secret_key=OTHER))[1:]
    assert len(lost) == 1
    assert lost[0].startswith("problem the secrets of 1 webhooks derive from a key that is set no more")
    assert lost[0].endswith(f"({hook.path})")
