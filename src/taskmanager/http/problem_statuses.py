"""The names of the statuses of problems, as the API's description has them."""

from collections.abc import Mapping
from typing import Final

# Python's own names of some differ between its versions.
STATUS_NAMES: Final[Mapping[int, str]] = {
    400: "Bad Request",
    401: "Unauthenticated",
    403: "Forbidden",
    404: "Not Found",
    406: "Not Acceptable",
    409: "Conflict",
    410: "Gone",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Invalid",
    428: "Precondition Required",
    429: "Too Many Requests",
    501: "Not Implemented",
    503: "Unavailable",
}


def schema_name(status: int) -> str:
    """Return the name under which the API's description has the problems of a status, such as `ConflictProblem`."""
    return f"{STATUS_NAMES[status].replace(' ', '')}Problem"
