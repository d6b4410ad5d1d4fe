"""What schemathesis is told about this API's tests; it imports this module by `SCHEMATHESIS_HOOKS`."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.core.parameters import ParameterLocation

from taskmanager.server.uvicorn_protocol import MOST_HEADER_BYTES
from taskmanager.written_text import trim

# White space around them is taken away before anything else is looked at.
_TRIMMED = {"tag", "not_tag"}


def _read(sent: str) -> Any:
    if re.fullmatch(r"-?\d+", sent):
        return int(sent)
    return {"true": True, "false": False}.get(sent.lower(), sent)


def _head_bytes(request: Any) -> int:
    return len(request.url) + sum(len(name) + len(value) + 4 for name, value in request.headers.items())


def query_is_valid_as_sent(operation: Any, url: str) -> bool:
    """Tell whether the description allows what the query says, whatever it was made of.

    `overdue=false` is also how the list `[false]` is sent, so no service can refuse it.
    """
    query = parse_qs(urlsplit(url).query, keep_blank_values=True)
    for parameter in operation.query:
        sent = query.get(parameter.name)
        if sent is None:
            if parameter.is_required:
                return False
            continue
        if parameter.definition.get("allowEmptyValue"):
            sent = [text for text in sent if text] or None
        if sent is None:
            continue
        possible: list[Any] = [sent, [_read(text) for text in sent]]
        if parameter.name in _TRIMMED:
            sent = [trim(text) for text in sent]
            possible.append(sent)
        if len(sent) == 1:
            possible += [sent[0], _read(sent[0])]
        if not any(parameter.get_validator().is_valid(value) for value in possible):
            return False
    return True


@schemathesis.hook
def filter_failure(context: Any, failure: Failure, case: Any, response: Any) -> bool:
    """Drop reports of wrong queries that were accepted, if they were not wrong any more when they were sent.

    And those of 431, which the server gives to a query that is too long before it knows the operation.
    """
    if response.status_code == 431 and _head_bytes(response.request) > MOST_HEADER_BYTES:
        return False
    if not isinstance(failure, AcceptedNegativeData):
        return True
    elsewhere = set(ParameterLocation) - {ParameterLocation.QUERY}
    if any(case.meta.is_negative_at(location) for location in elsewhere):
        return True
    return not query_is_valid_as_sent(case.operation, response.request.url)
