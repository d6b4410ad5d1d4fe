"""The tables of the event log: every change, appended, and what a position in the log belongs to."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, LargeBinary, Text, Uuid, func, text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import UserDefinedType

from taskmanager.database.database import Base


class TransactionId(UserDefinedType[int]):
    """PostgreSQL's `xid8`: the 64-bit number of a transaction, never reused."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the type's name in SQL."""
        return "xid8"


class Event(Base):
    """One change of one thing, written in the change's own statement.

    Identity numbers become visible out of order, so the order is that of (era, xid, id), and a reader that follows the
    log forward has to stop below `pg_snapshot_xmin(pg_current_snapshot())`, which cuts the present era alone. The
    default of `era` is raised when transactions are numbered anew, as after a restore (`event_log`). There are no
    foreign keys: the log outlives the things whose changes it holds, and every write appends to it. `entity` names the
    kind of thing, which is up to the feature that writes the event.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("events_entity_idx", "project_id", "entity", "entity_id", "version"),
        Index("events_log_idx", "era", "xid", "id"),
        Index("events_project_log_idx", "project_id", "era", "xid", "id"),
        Index("events_member_idx", "entity_id", "era", "xid", "id", postgresql_where=text("entity = 'member'")),
    )

    project_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    xid: Mapped[int] = mapped_column(TransactionId, server_default=text("pg_current_xact_id()"))
    era: Mapped[int] = mapped_column(server_default=text("0"))
    actor_id: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())
    entity: Mapped[str] = mapped_column(Text)
    entity_id: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int]
    action: Mapped[str] = mapped_column(Text)
    changes: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))


class EventLog(Base):
    """What positions in the log belong to, in one row.

    A position is good in one epoch. Another one starts when the log may have lost its end or been copied: the server's
    identifier, its database or its timeline is another than the row says, or an operator says so. `mac_key` makes the
    cursors; the floor is the last position whose events may be gone.
    """

    __tablename__ = "event_log"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, server_default=text("1"))
    epoch: Mapped[UUID] = mapped_column(Uuid, server_default=text("gen_random_uuid()"))
    mac_key: Mapped[bytes] = mapped_column(LargeBinary)
    era: Mapped[int] = mapped_column(server_default=text("0"))
    system_id: Mapped[int] = mapped_column(BigInteger)
    database_id: Mapped[int] = mapped_column(BigInteger)
    timeline: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())
    floor_era: Mapped[int] = mapped_column(server_default=text("0"))
    floor_xid: Mapped[int] = mapped_column(TransactionId, server_default=text("'0'"))
    floor_id: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
