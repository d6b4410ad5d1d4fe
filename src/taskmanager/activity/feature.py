"""What has changed, read from the event log."""

from taskmanager.activity.routes import router
from taskmanager.features import Feature

FEATURE = Feature(routers=(router,))
