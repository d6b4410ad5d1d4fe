"""The table of notifications."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, Text, func, text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import Mapped, mapped_column

from taskmanager.database.database import Base


class Notification(Base):
    """Something that a person should know of a task.

    It names the task alone, whose project may change, so whether its reader may still see it is asked when it is read.
    """

    __tablename__ = "notifications"
    __table_args__ = (
        CheckConstraint("kind IN ('assigned', 'mentioned', 'updated')", name="kind"),
        Index("notifications_created_at_idx", "user_id", "created_at", "id"),
        Index("notifications_unread_idx", "user_id", "created_at", "id", postgresql_where=text("read_at IS NULL")),
        Index("notifications_task_idx", "task_id"),
        Index("notifications_read_at_idx", "read_at", postgresql_where=text("read_at IS NOT NULL")),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    task_id: Mapped[int] = mapped_column(BigInteger)
    comment_id: Mapped[int | None] = mapped_column(BigInteger)
    actor_id: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())
    read_at: Mapped[datetime | None] = mapped_column(TIMESTAMP(timezone=True))
