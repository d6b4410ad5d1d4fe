"""What a user is notified of."""

from taskmanager.features import Feature
from taskmanager.notifications.routes import router

FEATURE = Feature(routers=(router,))
