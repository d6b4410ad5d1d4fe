"""The table of events: the append-only log of every change."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Identity, Index, Text, func, text
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

    Identity numbers become visible out of order, so the order is that of (xid, id), and a reader that follows the log
    forward has to stop below `pg_snapshot_xmin(pg_current_snapshot())`. There are no foreign keys: the log outlives the
    things whose changes it holds, and every write appends to it. `entity` names the kind of thing, which is up to the
    feature that writes the event.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("events_entity_idx", "project_id", "entity", "entity_id", "version"),
        Index("events_order_idx", "project_id", "xid", "id"),
    )

    project_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    xid: Mapped[int] = mapped_column(TransactionId, server_default=text("pg_current_xact_id()"))
    actor_id: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())
    entity: Mapped[str] = mapped_column(Text)
    entity_id: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int]
    action: Mapped[str] = mapped_column(Text)
    changes: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
