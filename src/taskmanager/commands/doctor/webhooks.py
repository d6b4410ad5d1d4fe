"""Looks at webhooks that are not sent to, and at secrets that have to be rotated."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from taskmanager.commands.doctor.findings import Finding, ok, problem, warning
from taskmanager.settings import Settings
from taskmanager.webhooks.conditions import HERE, LAG_SECONDS, STATE
from taskmanager.webhooks.signatures import SecretMaker

_WEBHOOKS = text(f"""
    WITH {HERE}
    SELECT w.project_id, w.id, {STATE} AS state, w.disabled_reason, w.key_fingerprint, w.failing_since,
           CASE WHEN w.enabled THEN {LAG_SECONDS} ELSE 0 END AS lag_seconds
    FROM webhooks w CROSS JOIN here ORDER BY w.project_id, w.id
""")
_MOST_NAMED = 10
_LONG_LAG_SECONDS = 300
_DISABLED_BY = {
    "gone": "answered 410",
    "failures": "failed for five days",
    "retention": "were so far behind that events were deleted before they were sent",
}


async def examine_webhooks(session: AsyncSession, settings: Settings | None) -> list[Finding]:
    """Name those that need somebody; without all settings nothing is said of secrets."""
    rows = (await session.execute(_WEBHOOKS)).all()
    if not rows:
        return []
    findings = [ok(f"{len(rows)} webhooks")]
    if settings is not None and not settings.webhooks_enabled:
        findings.append(warning("WEBHOOKS_ENABLED is off: nothing is sent from here"))
    paused = [row for row in rows if row.state == "paused"]
    if paused:
        findings.append(
            warning(
                f"{len(paused)} webhooks are paused, because this database was restored or copied: if it takes the "
                f"place of the one before, `taskmanager webhooks resume` starts them ({_names(paused)})"
            )
        )
    if failing := [row for row in rows if row.state == "failing"]:
        findings.append(warning(f"{len(failing)} webhooks fail: their owners should look ({_names(failing)})"))
    for reason, what in _DISABLED_BY.items():
        if disabled := [row for row in rows if row.disabled_reason == reason]:
            findings.append(warning(f"{len(disabled)} webhooks are disabled, since they {what} ({_names(disabled)})"))
    late = [row for row in rows if row.state == "active" and row.lag_seconds > _LONG_LAG_SECONDS]
    if late:
        findings.append(
            warning(f"{len(late)} webhooks are more than {_LONG_LAG_SECONDS // 60} minutes behind ({_names(late)})")
        )
    if settings is not None:
        findings += _secrets(rows, settings)
    return findings


def _secrets(rows: Sequence[Any], settings: Settings) -> Iterator[Finding]:
    current, *former = SecretMaker(settings.signing_secrets).fingerprints
    others = [row for row in rows if row.key_fingerprint != current]
    if rotate := [row for row in others if row.key_fingerprint in former]:
        yield warning(
            f"the secrets of {len(rotate)} webhooks derive from SECRET_KEY_PREVIOUS: their owners have to rotate them "
            f"before it is removed ({_names(rotate)})"
        )
    if lost := [row for row in others if row.key_fingerprint not in former]:
        yield problem(
            f"the secrets of {len(lost)} webhooks derive from a key that is set no more, so receivers refuse what is "
            f"sent: set it as SECRET_KEY_PREVIOUS, or have them rotated ({_names(lost)})"
        )


def _names(rows: Sequence[Any]) -> str:
    names = [f"/projects/{row.project_id}/webhooks/{row.id}" for row in rows[:_MOST_NAMED]]
    return ", ".join(names) + (" and more" if len(rows) > _MOST_NAMED else "")
