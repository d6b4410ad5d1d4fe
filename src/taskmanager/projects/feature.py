"""Projects and their members."""

from taskmanager.features import Feature
from taskmanager.maintenance.composing import compose_job
from taskmanager.projects.members.repository import FOLLOWED as MEMBER
from taskmanager.projects.members.routes import router as members_router
from taskmanager.projects.models import TEXTS
from taskmanager.projects.repository import FOLLOWED as PROJECT
from taskmanager.projects.routes import router

FEATURE = Feature(routers=(router, members_router), entities=(PROJECT, MEMBER), jobs=(compose_job(TEXTS),))
