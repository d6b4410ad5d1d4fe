"""The table of comments."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Identity, Index, Text, func, text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import Mapped, mapped_column

from taskmanager.database.composed_text import TextTable
from taskmanager.database.database import Base

TEXTS = TextTable("comments", ("project_id", "id"), {"body": 10_000})


class Comment(Base):
    """A remark on a task, stored under the task's project."""

    __tablename__ = "comments"
    __table_args__ = (
        # The composite key keeps a comment in its task's project; the cascade also deletes comments that
        # were committed after the deleting statement began.
        ForeignKeyConstraint(
            ["project_id", "task_id"], ["tasks.project_id", "tasks.id"], name="comments_task_fkey", ondelete="CASCADE"
        ),
        CheckConstraint("length(body) BETWEEN 1 AND 10000", name="body"),
        Index("comments_task_idx", "project_id", "task_id", "created_at", "id"),
        # Those who follow the log find a comment wherever its task has been moved to.
        Index("comments_id_idx", "id"),
        Index("comments_author_idx", "author_id", "project_id"),
        TEXTS.index,
        {"info": {"texts": TEXTS}},
    )

    project_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    task_id: Mapped[int] = mapped_column(BigInteger)
    author_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())
    version: Mapped[int] = mapped_column(server_default=text("1"))
