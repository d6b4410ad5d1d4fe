"""SQL that is declared once, and the two forms in which it is sent: for one request, and for many that share it."""

import re
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

# Values of one request, in the order of `Statement.names`.
Arguments = tuple[Any, ...]
_PARAMETER: Final = re.compile(r"(?<![:\w]):([a-z][a-z0-9_]*)")
_TYPES_BY_ENDING: Final = {"_id": "bigint", "_ids": "bigint[]", "_time": "timestamptz", "limit": "integer"}
_MOST_SHARED: Final = 64


class Statement:
    """A statement with `:name` parameters, whose types are bigint for `..._id`, timestamptz for `..._time`, or given.

    `lone` is the statement for one request. `shared` is derived from it and answers many: it reads the arguments of
    all of them as one array for each parameter, and its first column `n` numbers the request that a row is for, from 1.
    It must not write, and gives at most one row to each request. A statement that gives `one_row`, never none or
    several, can be sent for many requests in one message, since its rows tell nothing else about whose they are.
    """

    def __init__(
        self,
        name: str,
        sql: str,
        types: Mapping[str, str] | None = None,
        *,
        shared: bool = False,
        most_shared: int = _MOST_SHARED,
        one_row: bool = False,
    ) -> None:
        self.name: Final = name
        self.sql: Final = sql
        self.gives_one_row: Final = one_row
        self.types: Final = types
        self.names: Final = tuple(dict.fromkeys(_PARAMETER.findall(sql)))
        self.is_shared: Final = shared
        self.most_shared: Final = most_shared
        kinds = [(types or {}).get(name) or _type_by_name(name) for name in self.names]
        self._is_array = [kind.endswith("[]") for kind in kinds]
        numbered = enumerate(zip(self.names, kinds, strict=True), 1)
        places = {name: f"CAST(${n} AS {kind})" for n, (name, kind) in numbered}
        self.lone: Final = _PARAMETER.sub(lambda match: places[match[1]], sql)
        # `unnest` flattens an array of arrays, so each array travels as its text.
        sent = ["text" if is_array else kind for is_array, kind in zip(self._is_array, kinds, strict=True)]
        columns = ", ".join(f"CAST(${n} AS {kind}[])" for n, kind in enumerate(sent, 1))
        fields = {
            name: f'CAST(request."{name}" AS {kind})' if is_array else f'request."{name}"'
            for name, kind, is_array in zip(self.names, kinds, self._is_array, strict=True)
        }
        # OFFSET 0 stops the planner from joining the parts of all requests, which it may do by a scan.
        names = "".join(f'"{name}", ' for name in self.names)  # quoted, since one may be a word of SQL: limit
        requests = f"unnest({columns}) WITH ORDINALITY AS request ({names}n)"
        answer = f"SELECT * FROM ({_PARAMETER.sub(lambda match: fields[match[1]], sql)}) AS one OFFSET 0"
        self.shared: Final = f"SELECT request.n, answer.* FROM {requests} CROSS JOIN LATERAL ({answer}) AS answer"

    def arguments(self, values: Mapping[str, Any]) -> Arguments:
        """Return the values of one request in the order of `names`.

        Raises:
            KeyError: One is missing.
        """
        return tuple([values[name] for name in self.names])

    def columns(self, requests: Sequence[Arguments]) -> list[Sequence[Any]]:
        """Return the arguments of `shared` for the requests."""
        return [
            [None if value is None else _array_literal(value) for value in column] if is_array else column
            for column, is_array in zip(zip(*requests, strict=True), self._is_array, strict=True)
        ]


class Write(Statement):
    """A write that is one statement: its common table expressions, `steps`, and the SELECT from them, `answer`.

    It names the caller only as `:user_id`, so that it changes nothing when that is NULL: this is how the statement
    itself checks a request's login and Idempotency-Key. The repository reads the rows of `answer`. A write whose answer
    may be stored for a retry returns `done` (whether it had its effect), `id`, `project_id`, `version` and `body`, the
    bytes of the answer (NULL if it has none).
    """

    def __init__(
        self,
        name: str,
        steps: str,
        answer: str,
        types: Mapping[str, str] | None = None,
        *,
        most_shared: int = _MOST_SHARED,
    ) -> None:
        super().__init__(name, f"WITH {steps} {answer}", types, most_shared=most_shared)
        self.steps: Final = steps
        self.answer: Final = answer

    @cached_property
    def one_row(self) -> Statement:
        """The write as a statement that gives one row, with `is_found`."""
        sql = f"WITH {self.steps} {always_a_row(f'({self.answer})')}"
        return Statement(self.name, sql, self.types, most_shared=self.most_shared, one_row=True)


class SharedWrite:
    """A write that one statement does for many requests; those that it leaves out are run alone.

    Each request is a row of `requests`: its number `n`, from 1, and the `columns`, names with their types, of which one
    is `user_id`. `steps` are common table expressions, and `answer` selects `n`, `id`, `project_id`, `version` and
    `body` of each request that had its effect. Requests that agree in one of the columns `conflicts` never run at the
    same time. At most `most` requests share a statement. Only those requests `k` take part that meet the `condition`;
    `last_steps`, which begin with a comma, may read `requests` and `result`, the rows of `answer`.
    """

    def __init__(
        self,
        name: str,
        columns: Mapping[str, str],
        steps: str,
        answer: str,
        *,
        conflicts: Sequence[str] = (),
        most: int = _MOST_SHARED,
        condition: str = "true",
        last_steps: str = "",
    ) -> None:
        self.name: Final = name
        self.columns: Final = columns
        self.steps: Final = steps
        self.answer: Final = answer
        self.conflicts: Final = tuple(conflicts)
        self.most: Final = most
        self._places: Final = {name: place for place, name in enumerate(columns)}
        arrays = ", ".join(f"CAST(${n} AS {kind}[])" for n, kind in enumerate(columns.values(), 1))
        self.sql: Final = f"""
            WITH requests AS MATERIALIZED (
                SELECT * FROM unnest({arrays}) WITH ORDINALITY AS k ({", ".join(columns)}, n) WHERE {condition}
            ), {steps}, result AS ({answer}){last_steps}
            SELECT n, id, version, body FROM result
        """

    def extended(
        self, columns: Mapping[str, str], condition: str, last_steps: str = "", conflicts: Sequence[str] = ()
    ) -> "SharedWrite":
        """Return this write with more columns and conflicts, a condition and last steps."""
        return SharedWrite(
            self.name,
            {**self.columns, **columns},
            self.steps,
            self.answer,
            conflicts=(*self.conflicts, *conflicts),
            most=self.most,
            condition=condition,
            last_steps=last_steps,
        )

    def arguments(self, values: Mapping[str, Any]) -> Arguments:
        """Return the values of one request in the order of the columns.

        Raises:
            KeyError: One is missing.
        """
        return tuple([values[name] for name in self._places])

    def conflict_keys(self, request: Arguments) -> list[Hashable]:
        """Return what no two requests that run at the same time may have in common."""
        return [(name, request[self._places[name]]) for name in self.conflicts]


def always_a_row(rows: str, more: str = "", *, or_many: bool = False) -> str:
    """Return the SELECT of `is_found`, true, and the columns of the first of `rows` (`or_many`: of all of them).

    Without any, there is one row with NULL in these. `more` are other columns, each with a comma behind it.
    """
    limit = "" if or_many else "LIMIT 1"
    return f"""
        SELECT {more} found.* FROM (VALUES (true)) AS always
        LEFT JOIN (SELECT true AS is_found, result.* FROM {rows} AS result {limit}) AS found ON true
    """


def _type_by_name(name: str) -> str:
    for ending, kind in _TYPES_BY_ENDING.items():
        if name.endswith(ending):
            return kind
    raise ValueError(f"the parameter {name} needs a type")


def _array_literal(values: Sequence[Any]) -> str:
    """Return an array as PostgreSQL writes it (manual, "Array Input and Output Syntax")."""
    return f"{{{','.join(map(_element, values))}}}"


def _element(value: Any) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value)
