"""Tasks of the caller, in the style of the usual FastAPI templates.

An AsyncSession for each request, the user loaded by a dependency, ORM entities, and a response model that writes them.
"""

import os
from collections.abc import AsyncIterator
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException, Query
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ForeignKey, String, select
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.sql.functions import now

engine = create_async_engine(os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+asyncpg:", 1))
sessionmaker = async_sessionmaker(engine, expire_on_commit=False)
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="/api/v1/token")
app = FastAPI()


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map = {datetime: TIMESTAMP(timezone=True), list[str]: ARRAY(String)}


class User(Base):
    """An account."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str]
    email: Mapped[str]
    disabled: Mapped[bool] = mapped_column(default=False)


class Task(Base):
    """A task of one user."""

    __tablename__ = "tasks"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    title: Mapped[str]
    description: Mapped[str | None]
    status: Mapped[str] = mapped_column(default="pending")
    priority: Mapped[int] = mapped_column(default=1)
    tags: Mapped[list[str]] = mapped_column(default=list)
    due_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=now())
    updated_at: Mapped[datetime] = mapped_column(server_default=now(), onupdate=now())


class TaskStatus(StrEnum):
    """How far a task is."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class TaskCreate(BaseModel):
    """A new task."""

    title: str = Field(min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=2000)
    status: TaskStatus = TaskStatus.PENDING
    priority: int = Field(default=1, ge=1, le=5)


class TaskUpdate(BaseModel):
    """Changes to a task."""

    title: str = Field(default="", min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=2000)
    status: TaskStatus = TaskStatus.PENDING
    priority: int = Field(default=1, ge=1, le=5)


class TaskPublic(BaseModel):
    """A task as clients see it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    title: str
    description: str | None
    status: TaskStatus
    priority: int
    tags: list[str]
    due_at: datetime | None
    created_at: datetime
    updated_at: datetime


class TasksPublic(BaseModel):
    """Some tasks."""

    tasks: list[TaskPublic]


async def get_session() -> AsyncIterator[AsyncSession]:
    """Open a session for one request."""
    async with sessionmaker() as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session)]


async def get_current_user(session: SessionDep, token: Annotated[str, Depends(oauth2_scheme)]) -> User:
    """Load the user whom the token names."""
    try:
        claims = jwt.decode(
            token,
            os.environ["JWT_SECRET"],
            algorithms=["HS256"],
            issuer="benchmark",
            options={"require": ["sub", "exp"], "verify_aud": False},
        )
    except jwt.PyJWTError as error:
        raise HTTPException(401, "Could not validate credentials", {"WWW-Authenticate": "Bearer"}) from error
    user = await session.get(User, int(claims["sub"]))
    if user is None or user.disabled:
        raise HTTPException(401, "Could not validate credentials", {"WWW-Authenticate": "Bearer"})
    return user


CurrentUser = Annotated[User, Depends(get_current_user)]


async def get_task(session: SessionDep, user: CurrentUser, task_id: int) -> Task:
    """Load a task of the user."""
    task = await session.get(Task, task_id)
    if task is None or task.owner_id != user.id:
        raise HTTPException(404, "Task not found")
    return task


OwnTask = Annotated[Task, Depends(get_task)]


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that the process is alive."""
    return {"status": "healthy"}


@app.get("/api/v1/tasks", response_model=TasksPublic)
async def read_tasks(
    session: SessionDep, user: CurrentUser, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> dict[str, list[Task]]:
    """List the newest tasks."""
    statement = (
        select(Task).where(Task.owner_id == user.id).order_by(Task.created_at.desc(), Task.id.desc()).limit(limit)
    )
    return {"tasks": list(await session.scalars(statement))}


@app.get("/api/v1/tasks/{task_id}", response_model=TaskPublic)
async def read_task(task: OwnTask) -> Task:
    """Return a task."""
    return task


@app.post("/api/v1/tasks", response_model=TaskPublic, status_code=201)
async def create_task(session: SessionDep, user: CurrentUser, body: TaskCreate) -> Task:
    """Create a task."""
    task = Task(**body.model_dump(), owner_id=user.id)
    session.add(task)
    await session.commit()
    await session.refresh(task)
    return task


@app.patch("/api/v1/tasks/{task_id}", response_model=TaskPublic)
async def update_task(session: SessionDep, task: OwnTask, body: TaskUpdate) -> Task:
    """Change a task."""
    for name, value in body.model_dump(exclude_unset=True).items():
        setattr(task, name, value)
    await session.commit()
    await session.refresh(task)
    return task
