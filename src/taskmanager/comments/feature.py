"""Comments on tasks."""

from taskmanager.comments.routes import router
from taskmanager.features import Feature

FEATURE = Feature(routers=(router,))
