"""The web page for people at /app, made of the API alone."""

from taskmanager.features import Feature
from taskmanager.webapp.pages import prepare

FEATURE = Feature(prepare=prepare)
