"""Tasks of the caller, in the style of tutorials: synchronous sessions, `def` handlers, the queries inside them."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Literal

import jwt
from fastapi import Depends, FastAPI, HTTPException, Query
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import String, create_engine
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

engine = create_engine(os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:", 1))
SessionLocal = sessionmaker(bind=engine)
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="/api/v1/token")
app = FastAPI()


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map = {datetime: TIMESTAMP(timezone=True), list[str]: ARRAY(String)}


class Task(Base):
    """A task of one user."""

    __tablename__ = "tasks"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int]
    title: Mapped[str]
    description: Mapped[str | None]
    status: Mapped[str] = mapped_column(default="pending")
    priority: Mapped[int] = mapped_column(default=1)
    tags: Mapped[list[str]] = mapped_column(default=list)
    due_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))
    updated_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC), onupdate=lambda: datetime.now(UTC))


TaskStatus = Literal["pending", "in_progress", "completed", "cancelled"]


class TaskCreate(BaseModel):
    """A new task."""

    title: str = Field(min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=2000)
    status: TaskStatus = "pending"
    priority: int = Field(default=1, ge=1, le=5)


class TaskUpdate(BaseModel):
    """Changes to a task."""

    title: str = Field(default="", min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=2000)
    status: TaskStatus = "pending"
    priority: int = Field(default=1, ge=1, le=5)


class TaskResponse(BaseModel):
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


class TaskListResponse(BaseModel):
    """Some tasks."""

    tasks: list[TaskResponse]


def get_db() -> Iterator[Session]:
    """Open a session for one request."""
    db = SessionLocal()
    try:
        yield db
    finally:
        db.close()


def get_current_user_id(token: Annotated[str, Depends(oauth2_scheme)]) -> int:
    """Return the user whom the token names."""
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
    return int(claims["sub"])


Database = Annotated[Session, Depends(get_db)]
UserId = Annotated[int, Depends(get_current_user_id)]


@app.get("/health")
def health() -> dict[str, str]:
    """Say that the process is alive."""
    return {"status": "healthy"}


@app.get("/api/v1/tasks", response_model=TaskListResponse)
def list_tasks(db: Database, user_id: UserId, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> dict[str, list[Task]]:
    """List the newest tasks."""
    tasks = (
        db.query(Task)
        .filter(Task.owner_id == user_id)
        .order_by(Task.created_at.desc(), Task.id.desc())
        .limit(limit)
        .all()
    )
    return {"tasks": tasks}


@app.get("/api/v1/tasks/{task_id}", response_model=TaskResponse)
def get_task(db: Database, user_id: UserId, task_id: int) -> Task:
    """Return a task."""
    task = db.query(Task).filter(Task.id == task_id, Task.owner_id == user_id).first()
    if task is None:
        raise HTTPException(404, "Task not found")
    return task


@app.post("/api/v1/tasks", response_model=TaskResponse, status_code=201)
def create_task(db: Database, user_id: UserId, body: TaskCreate) -> Task:
    """Create a task."""
    task = Task(**body.model_dump(), owner_id=user_id)
    db.add(task)
    db.commit()
    db.refresh(task)
    return task


@app.patch("/api/v1/tasks/{task_id}", response_model=TaskResponse)
def update_task(db: Database, user_id: UserId, task_id: int, body: TaskUpdate) -> Task:
    """Change a task."""
    task = db.query(Task).filter(Task.id == task_id, Task.owner_id == user_id).first()
    if task is None:
        raise HTTPException(404, "Task not found")
    for name, value in body.model_dump(exclude_unset=True).items():
        setattr(task, name, value)
    db.commit()
    db.refresh(task)
    return task
