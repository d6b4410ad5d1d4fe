"""Projects and their members."""

from taskmanager.features import Feature
from taskmanager.projects.members.routes import router as members_router
from taskmanager.projects.routes import router

FEATURE = Feature(routers=(router, members_router))
