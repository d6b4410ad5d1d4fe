"""Comments on tasks."""

from taskmanager.comments.models import TEXTS
from taskmanager.comments.routes import router
from taskmanager.comments.statements import FOLLOWED
from taskmanager.features import Feature
from taskmanager.maintenance.composing import compose_job

FEATURE = Feature(routers=(router,), entities=(FOLLOWED,), jobs=(compose_job(TEXTS),))
