"""Sections of projects."""

from taskmanager.features import Feature
from taskmanager.sections.routes import router
from taskmanager.sections.statements import FOLLOWED

FEATURE = Feature(routers=(router,), entities=(FOLLOWED,))
