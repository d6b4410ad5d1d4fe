"""Empties the database between tests, and makes users who are logged in."""

from collections.abc import Sequence

from taskmanager.accounts.repository import AccountWriter, NewUser, StoredLogin
from taskmanager.database.statements import Statement
from taskmanager.database.writes import Writes
from taskmanager.following.epochs import start_epoch

# Above it, rows take longer to delete than the files of all tables to make anew; below, a hundredth of that.
_LARGE_BYTES = 4 * 1024 * 1024


class ResetWriter:
    """Deletes all rows of the given tables, of which each refers to earlier ones only."""

    def __init__(self, tables: Sequence[str]) -> None:
        names = ", ".join(tables)
        # What is being written is waited for, so that it does not come after the reset.
        self._lock = Statement("lock all", f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE")
        sizes = " + ".join(f"pg_relation_size('{table}')" for table in tables)
        self._measure = Statement("measure all", f"SELECT {sizes} AS bytes")
        # Ids go on, so that what a test has kept of an earlier one never fits a new row.
        self._truncate = Statement("truncate all", f"TRUNCATE {names}")
        self._delete = [Statement(f"delete all {table}", f"DELETE FROM {table}") for table in reversed(tables)]

    async def reset(self, writes: Writes) -> None:
        """Delete all rows and start another epoch of the event log, by which followers learn of it.

        Raises:
            asyncpg.PostgresError: A request has held a table for longer than the lock is waited for.
        """
        async with writes.transaction() as run:
            await run.all(self._lock)
            found = await run.one(self._measure)
            assert found is not None
            for statement in [self._truncate] if found["bytes"] > _LARGE_BYTES else self._delete:
                await run.all(statement)
        # It takes a stronger lock, for which a reader of the log may have to end that waits for this transaction.
        await start_epoch(writes)


async def create_logged_in(
    writes: Writes, *, username: str, email: str, password_hash: str, is_admin: bool
) -> tuple[NewUser, int]:
    """Store a user and a login of theirs, and return both, the second as its id.

    Raises:
        AlreadyTakenError: Another account has the user name or the address.
    """
    async with writes.transaction() as run:
        accounts = AccountWriter(run)
        user = await accounts.create(username=username, email=email, password_hash=password_hash, is_admin=is_admin)
        session_id = await accounts.start_session(StoredLogin(user.id, password_hash), "taskmanager testing")
    return user, session_id
