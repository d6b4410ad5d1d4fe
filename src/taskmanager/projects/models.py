"""Tables of projects and their members."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, Text, func, text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import Mapped, mapped_column

from taskmanager.database.composed_text import TextTable
from taskmanager.database.database import Base

TEXTS = TextTable("projects", ("id",), {"name": 100, "description": 2000})


class Project(Base):
    """A group of tasks with members; `inbox_of` marks a user's personal one."""

    __tablename__ = "projects"
    __table_args__ = (
        CheckConstraint("length(name) BETWEEN 1 AND 100", name="name"),
        CheckConstraint("length(description) <= 2000", name="description"),
        CheckConstraint("inbox_of IS NULL OR NOT archived", name="inbox"),
        Index("projects_inbox_of_idx", "inbox_of", unique=True, postgresql_where=text("inbox_of IS NOT NULL")),
        TEXTS.index,
        {"info": {"texts": TEXTS}},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    archived: Mapped[bool] = mapped_column(server_default=text("false"))
    inbox_of: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())


class ProjectMember(Base):
    """A user's place in a project."""

    __tablename__ = "project_members"
    __table_args__ = (
        CheckConstraint("role IN ('owner', 'editor', 'viewer')", name="role"),
        Index("project_members_user_id_project_id_idx", "user_id", "project_id"),
        Index("project_members_created_at_idx", "project_id", "created_at", "user_id"),
    )

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    role: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())
    version: Mapped[int] = mapped_column(server_default=text("1"))
