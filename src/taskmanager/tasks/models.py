"""The table of tasks."""

from datetime import date, datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Text,
    func,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.orm import Mapped, mapped_column

from taskmanager.database.composed_text import TextTable
from taskmanager.database.database import Base
from taskmanager.tasks.folding import folded

TEXTS = TextTable("tasks", ("project_id", "id"), {"title": 200, "description": 2000}, lists={"tags": 50})
_POSITION = text('COALESCE("position", position_of(id))')

# As PostgreSQL writes it.
_DUE = "COALESCE(due_at, ((due_on + 1)::timestamp without time zone AT TIME ZONE 'UTC'::text))"


class Task(Base):
    """A task, stored under its project."""

    __tablename__ = "tasks"
    __table_args__ = (
        ForeignKeyConstraint(
            ["project_id", "assignee_id"],
            ["project_members.project_id", "project_members.user_id"],
            name="tasks_assignee_fkey",
        ),
        ForeignKeyConstraint(
            ["project_id", "section_id"], ["sections.project_id", "sections.id"], name="tasks_section_fkey"
        ),
        CheckConstraint("length(title) BETWEEN 1 AND 200", name="title"),
        CheckConstraint("length(description) <= 2000", name="description"),
        CheckConstraint("status IN ('pending', 'in_progress', 'completed', 'cancelled')", name="status"),
        CheckConstraint("priority BETWEEN 1 AND 5", name="priority"),
        CheckConstraint("cardinality(tags) <= 20", name="tags"),
        CheckConstraint("(status = 'completed') = (completed_at IS NOT NULL)", name="completed_at"),
        CheckConstraint("due_at IS NULL OR due_on IS NULL", name="due"),
        Index("tasks_id_idx", "id"),
        Index("tasks_created_by_idx", "created_by", "project_id"),
        Index("tasks_project_id_created_at_id_idx", "project_id", text("created_at DESC"), text("id DESC")),
        Index("tasks_updated_at_idx", "project_id", "updated_at", "created_at", "id"),
        Index("tasks_priority_idx", "project_id", "priority", "created_at", "id"),
        Index(
            "tasks_folded_title_idx",
            "project_id",
            literal_column("lower(title COLLATE pg_c_utf8)").label("folded_title"),
            "created_at",
            "id",
            # Reflection does not return the collation, so naming it in the expression would look like a difference.
            postgresql_ops={"folded_title": 'COLLATE "C"'},
        ),
        Index("tasks_status_idx", "project_id", "status", "created_at", "id"),
        Index(
            "tasks_due_idx",
            "project_id",
            literal_column(_DUE).label("due"),
            "created_at",
            "id",
            postgresql_where=text(f"{_DUE} IS NOT NULL"),
        ),
        Index(
            "tasks_assignee_created_at_idx",
            "project_id",
            "assignee_id",
            "created_at",
            "id",
            postgresql_where=text("assignee_id IS NOT NULL"),
        ),
        Index(
            "tasks_folded_search_idx",
            "project_id",
            "tags",
            literal_column(folded("title")).label("folded_title"),
            literal_column(folded("description")).label("folded_description"),
            postgresql_using="gin",
            postgresql_ops={"folded_title": "gin_trgm_ops", "folded_description": "gin_trgm_ops"},
        ),
        Index("tasks_position_idx", "project_id", _POSITION),
        Index(
            "tasks_section_idx",
            "project_id",
            "section_id",
            _POSITION,
            postgresql_where=text("section_id IS NOT NULL"),
        ),
        TEXTS.index,
        {"info": {"texts": TEXTS}},
    )

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    title: Mapped[str] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text, server_default=text("'pending'"))
    priority: Mapped[int] = mapped_column(server_default=text("1"))
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    due_at: Mapped[datetime | None] = mapped_column(TIMESTAMP(timezone=True))
    due_on: Mapped[date | None] = mapped_column(Date)
    start_at: Mapped[datetime | None] = mapped_column(TIMESTAMP(timezone=True))
    assignee_id: Mapped[int | None] = mapped_column(BigInteger)
    section_id: Mapped[int | None] = mapped_column(BigInteger)
    position: Mapped[str | None] = mapped_column(Text(collation="C"))
    created_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())
    completed_at: Mapped[datetime | None] = mapped_column(TIMESTAMP(timezone=True))
    version: Mapped[int] = mapped_column(server_default=text("1"))
