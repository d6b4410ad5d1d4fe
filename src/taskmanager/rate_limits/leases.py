"""The permits that this process may spend without asking the database."""

from datetime import datetime
from math import ceil

from taskmanager.rate_limits.policies import Decision, Key, Policy
from taskmanager.rate_limits.repository import Grant

_MOST_LEASES = 100_000


class Lease:
    """Permits of a key that this process may still spend until the window ends, and those left for the others."""

    __slots__ = ("expires_at", "permits", "policy", "remaining", "resets_at")

    def __init__(self, policy: Policy, resets_at: datetime) -> None:
        self.policy = policy
        self.resets_at = resets_at
        self.permits = 0
        self.remaining = 0
        self.expires_at = 0.0

    def spend(self, now: float) -> Decision | None:
        """Spend a permit, or refuse; None where the database has to be asked."""
        seconds = self.expires_at - now
        if seconds <= 0:
            return None
        admitted = self.permits > 0
        if admitted:
            self.permits -= 1
        elif self.remaining > 0:
            return None
        return Decision(admitted, self.policy, self.permits + self.remaining, ceil(seconds), self.resets_at)


class Leases(dict[Key, Lease]):
    """The leases by key, roughly in the order in which their windows end, since all windows are equally long."""

    def receive(self, key: Key, policy: Policy, grant: Grant, expires_at: float) -> Lease:
        """Return the lease with what was granted; it is kept only if the policy has leases."""
        lease = self.get(key)
        if lease is None or lease.resets_at != grant.resets_at:
            lease = Lease(policy, grant.resets_at)
            if policy.lease:
                self.pop(key, None)
                self[key] = lease
        lease.permits += grant.permits
        lease.remaining = grant.remaining
        lease.expires_at = expires_at
        return lease

    def forget_ended(self, now: float) -> None:
        """Delete those whose windows have ended, and the oldest of too many: they only lose their permits."""
        while self:
            oldest = next(iter(self))
            if self[oldest].expires_at > now and len(self) <= _MOST_LEASES:
                break
            del self[oldest]
