"""What `taskmanager doctor` reports: one line for each thing that it looked at."""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One line of the report; never holds a secret."""

    level: Level
    message: str

    def __str__(self) -> str:
        return f"{self.level:<8} {self.message}"


def ok(message: str) -> Finding:
    """Return a finding of something that is as it should be."""
    return Finding(Level.OK, message)


def warning(message: str) -> Finding:
    """Return a finding of something that may go wrong."""
    return Finding(Level.WARNING, message)


def problem(message: str) -> Finding:
    """Return a finding of something that keeps the service from working."""
    return Finding(Level.PROBLEM, message)


def is_this_machine(host: str) -> bool:
    """Return whether a host is a loopback address or name."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
