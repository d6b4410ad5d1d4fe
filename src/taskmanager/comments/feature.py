"""Comments on tasks."""

from taskmanager.comments.models import TEXTS
from taskmanager.comments.routes import router
from taskmanager.features import Feature
from taskmanager.maintenance.composing import compose_job

FEATURE = Feature(routers=(router,), jobs=(compose_job(TEXTS),))
