"""Fixtures of the tests in this folder."""

from tests.support.ephemeral_applications import ephemeral_app, testing

__all__ = ["ephemeral_app", "testing"]
