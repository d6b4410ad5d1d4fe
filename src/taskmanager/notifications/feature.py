"""What a user is notified of."""

from taskmanager.features import Feature
from taskmanager.notifications.repository import PURGE_READ
from taskmanager.notifications.routes import router

FEATURE = Feature(routers=(router,), jobs=(PURGE_READ,))
