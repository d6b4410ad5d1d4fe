"""What the handlers for tests ask for."""

from typing import Annotated

from fastapi import Depends, Request

from taskmanager.following.epochs import Epochs
from taskmanager.following.followers import Followers
from taskmanager.rate_limits.limiter import RateLimiter
from taskmanager.testing.repository import ResetWriter


async def get_reset_writer(request: Request) -> ResetWriter:
    """Return what empties the application's tables."""
    reset: ResetWriter = request.app.state.reset_writer
    return reset


async def get_epochs(request: Request) -> Epochs:
    """Return what knows the epoch of the event log."""
    epochs: Epochs = request.app.state.epochs
    return epochs


async def get_followers(request: Request) -> Followers:
    """Return those who wait for news."""
    followers: Followers = request.app.state.followers
    return followers


async def get_rate_limiter(request: Request) -> RateLimiter:
    """Return the application's rate limiter."""
    limiter: RateLimiter = request.app.state.rate_limiter
    return limiter


AppResetWriter = Annotated[ResetWriter, Depends(get_reset_writer)]
AppEpochs = Annotated[Epochs, Depends(get_epochs)]
AppFollowers = Annotated[Followers, Depends(get_followers)]
AppRateLimiter = Annotated[RateLimiter, Depends(get_rate_limiter)]
