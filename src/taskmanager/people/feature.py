"""People, as others see them."""

from taskmanager.features import Feature
from taskmanager.people.retention import PURGE_NAMES
from taskmanager.people.routes import router

FEATURE = Feature(routers=(router,), jobs=(PURGE_NAMES,))
