"""Which rows hold text that is not in Unicode's normalisation form C, as older versions stored it, and their rewriting.

Each table of such texts has an index of these rows alone. It is empty once all are rewritten, so to look again costs
nothing, and what an older version that still runs stores is found too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sqlalchemy import Index, text

from taskmanager.database.statements import Statement


@dataclass(frozen=True)
class TextTable:
    """The texts of a table: its name and key, its columns and how many characters they hold.

    `unique` is a column of which no two rows may have the same. `lists` are columns of several texts each, sorted and
    without repetition.
    """

    name: str
    key: Sequence[str]
    texts: Mapping[str, int]
    unique: str | None = None
    lists: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def is_not_composed(self) -> str:
        """The condition of the index, as SQL, and so of every statement that reads it."""
        # ASCII is in form C; whether a text is ASCII is quickly known.
        texts = [f"octet_length({one}) > length({one}) AND NOT ({one} IS NFC NORMALIZED)" for one in self.texts]
        # One call, since every statement that writes prepares the condition: with one for each element it took up to
        # a fifth of the time of a lone change.
        elements = [f"NOT are_composed({one})" for one in self.lists]
        return " OR ".join([*texts, *elements])

    @property
    def index(self) -> Index:
        """The index of the rows that are not composed."""
        return Index(f"{self.name}_not_composed_idx", *self.key, postgresql_where=text(self.is_not_composed))

    @cached_property
    def rewrite(self) -> Statement:
        """The statement that rewrites `:limit` rows, as far as they stay within their bounds, and returns their keys.

        Version and times stay: for readers the texts are the same. Rows that somebody is writing are left out.
        """
        key, same = (
            ", ".join(f"t.{one}" for one in self.key),
            " AND ".join(f"t.{one} = found.{one}" for one in self.key),
        )
        values = [f"{one} = CASE WHEN {self._fits(one)} THEN normalize(t.{one}) ELSE t.{one} END" for one in self.texts]
        values += [
            f"{one} = CASE WHEN {self._fits_all(one)} THEN {_composed_list(one)} ELSE t.{one} END" for one in self.lists
        ]
        sql = f"""
            WITH found AS MATERIALIZED (
                SELECT {key} FROM {self.name} t WHERE ({self.is_not_composed}) AND ({self._can_be_rewritten})
                ORDER BY {key} LIMIT :limit FOR UPDATE SKIP LOCKED
            )
            UPDATE {self.name} t SET {", ".join(values)} FROM found WHERE {same} RETURNING {key}
        """
        return Statement(f"compose texts of {self.name}", sql)

    @cached_property
    def count(self) -> Statement:
        """The statement that counts rows to rewrite (`waiting`) and rows that stay (`staying`), with some `keys`."""
        key = " || '/' || ".join(f"CAST({one} AS text)" for one in self.key)
        sql = f"""
            SELECT count(*) FILTER (WHERE can_be_rewritten) AS waiting,
                   count(*) FILTER (WHERE NOT can_be_rewritten) AS staying,
                   (array_agg(key ORDER BY key) FILTER (WHERE NOT can_be_rewritten))[1:10] AS keys
            FROM (
                SELECT {key} AS key, {self._can_be_rewritten} AS can_be_rewritten
                FROM {self.name} t WHERE {self.is_not_composed}
            ) AS found
        """
        return Statement(f"count texts of {self.name}", sql)

    @property
    def _can_be_rewritten(self) -> str:
        texts = [f"NOT (t.{one} IS NFC NORMALIZED) AND {self._fits(one)}" for one in self.texts]
        lists = [
            f"EXISTS (SELECT FROM unnest(t.{one}) AS element WHERE NOT (element IS NFC NORMALIZED))"
            f" AND {self._fits_all(one)}"
            for one in self.lists
        ]
        return f"COALESCE({' OR '.join(f'({one})' for one in [*texts, *lists])}, false)"

    def _fits(self, column: str) -> str:
        fits = f"length(normalize(t.{column})) <= {self.texts[column]}"
        if column == self.unique:
            other = f"SELECT FROM {self.name} o WHERE o.{column} = normalize(t.{column})"
            fits += f" AND NOT EXISTS ({other} AND (o.{', o.'.join(self.key)}) <> (t.{', t.'.join(self.key)}))"
        return fits

    def _fits_all(self, column: str) -> str:
        longest = self.lists[column]
        return f"NOT EXISTS (SELECT FROM unnest(t.{column}) AS element WHERE length(normalize(element)) > {longest})"


def _composed_list(column: str) -> str:
    composed = 'normalize(element) COLLATE "C"'
    return f"ARRAY(SELECT DISTINCT {composed} FROM unnest(t.{column}) AS element ORDER BY {composed})"
