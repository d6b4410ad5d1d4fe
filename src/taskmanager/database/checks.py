"""What makes a database unfit for this service, found out in one round trip; each fault comes with its remedy."""

import pkgutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec

from sqlalchemy import MetaData, Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

MINIMUM_SERVER_VERSION = 18
_PACKAGE = __name__.partition(".")[0]
_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
# No statement of the service uses these, so a role may be without them.
UNUSED_RIGHTS = {("users", "DELETE"), ("event_log", "INSERT"), ("event_log", "DELETE")}
# An identity column needs no right on its sequence, a statement that names the sequence does.
NAMED_SEQUENCES = ("tasks_id_seq",)
# The first that is there holds the revision; it is only read.
_REVISION_TABLES = ("taskmanager_schema", "alembic_version")
_EXTENSIONS = ("btree_gin", "pg_trgm")
# `stored` is what the next connections get, which the settings of this one do not show: first what was set for the
# role, then for the database. Only `gin_trgm_ops` is looked up through the search_path, other classes are defaults.
_STATE = text("""
WITH needed AS MATERIALIZED (
    SELECT c.oid, c.relkind, c.relname, c.relowner, c.relnamespace, needed."right"
    FROM unnest(:relations, :rights) AS needed (name, "right") JOIN pg_class c ON c.oid = to_regclass(needed.name)
), stored AS (
    SELECT CAST(split_part(setting, '=', 2) AS boolean) AS is_read_only, format(
        'SET default_transaction_read_only = off; ALTER %s RESET default_transaction_read_only',
        CASE WHEN setrole = 0 AND setdatabase = 0 THEN 'ROLE ALL'
             WHEN setrole = 0 THEN format('DATABASE %I', current_database())
             WHEN setdatabase = 0 THEN format('ROLE %I', session_user)
             ELSE format('ROLE %I IN DATABASE %I', session_user, current_database()) END
    ) AS reset
    FROM pg_db_role_setting, unnest(setconfig) AS setting
    WHERE split_part(setting, '=', 1) = 'default_transaction_read_only'
      AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
      AND setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = session_user))
    ORDER BY setrole <> 0 DESC, setdatabase <> 0 DESC LIMIT 1
)
SELECT CAST(current_setting('server_version_num') AS integer) / 10000 AS version,
       quote_ident(current_database()) AS database,
       quote_ident(current_user) AS role,
       quote_ident(current_schema()) AS schema,
       current_setting('server_encoding') AS encoding,
       pg_is_in_recovery() AS is_standby,
       current_setting('transaction_read_only') = 'on' OR coalesce(stored.is_read_only, false) AS is_read_only,
       CASE WHEN stored.is_read_only THEN stored.reset END AS read_only_reset,
       to_regclass('project_members') IS NOT NULL AS has_tables,
       ARRAY(
           SELECT quote_ident(n.nspname) FROM pg_namespace n
           WHERE n.nspname = ANY(string_to_array(
                     replace(translate(current_setting('search_path'), ' "', ''), '$user', current_user), ','))
             AND NOT has_schema_privilege(n.oid, 'USAGE')
             AND EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname = 'project_members')
       ) AS closed_schemas,
       (
           SELECT CASE WHEN NOT has_table_privilege(c.oid, 'SELECT')
                       THEN format('%s.%I', CAST(c.relnamespace AS regnamespace), c.relname) END
           FROM unnest(:revision_tables) WITH ORDINALITY AS t (name, place)
           JOIN pg_class c ON c.oid = to_regclass(t.name)
           ORDER BY place LIMIT 1
       ) AS closed_revision_table,
       ARRAY(
           SELECT ARRAY[
               CAST(relkind AS text), "right", format('%s.%I', CAST(relnamespace AS regnamespace), relname), relname
           ]
           FROM needed
           WHERE CASE WHEN relkind = 'S' THEN NOT has_sequence_privilege(oid, "right")
                      ELSE NOT has_table_privilege(oid, "right") END
           ORDER BY relname
       ) AS missing_rights,
       coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
       has_database_privilege(current_database(), 'CREATE') AS may_create_extensions,
       ARRAY(
           SELECT DISTINCT quote_ident(relname) FROM needed
           WHERE relkind <> 'S' AND NOT pg_has_role(relowner, 'USAGE') ORDER BY 1
       ) AS tables_of_others,
       ARRAY(
           SELECT name FROM unnest(:extensions) AS name
           WHERE NOT EXISTS (SELECT FROM pg_extension WHERE extname = name)
       ) AS missing_extensions,
       (
           SELECT CASE WHEN NOT pg_opclass_is_visible(o.oid) THEN quote_ident(n.nspname) END
           FROM pg_opclass o JOIN pg_namespace n ON n.oid = o.opcnamespace
           WHERE o.opcname = 'gin_trgm_ops' ORDER BY pg_opclass_is_visible(o.oid) DESC LIMIT 1
       ) AS hidden_trigrams
FROM (VALUES (true)) AS always LEFT JOIN stored ON true
""").bindparams(
    *(bindparam(name, type_=ARRAY(Text())) for name in ("relations", "rights", "revision_tables", "extensions"))
)


@dataclass(frozen=True)
class Fault:
    """What is wrong, without names of roles and databases, so that anyone may read it; and how to mend it."""

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.remedy}"


@dataclass(frozen=True)
class DatabaseState:
    """What one connection shows of its server, its database and its role; names are quoted for use in SQL.

    `missing_rights` holds (kind of relation, right, relation, its bare name), `hidden_trigrams` the schema of pg_trgm
    where the search_path does not lead to it.
    """

    version: int
    database: str
    role: str
    schema: str | None
    encoding: str
    is_standby: bool
    is_read_only: bool
    read_only_reset: str | None
    has_tables: bool
    closed_schemas: list[str]
    closed_revision_table: str | None
    missing_rights: list[tuple[str, str, str, str]]
    may_create: bool
    may_create_extensions: bool
    tables_of_others: list[str]
    missing_extensions: list[str]
    hidden_trigrams: str | None

    def server_faults(self) -> Iterator[Fault]:
        """Yield what is wrong whatever the schema; neither the service nor a migration can go on."""
        if self.version < MINIMUM_SERVER_VERSION:
            yield Fault(f"PostgreSQL {self.version} is too old", f"{MINIMUM_SERVER_VERSION} or newer is needed")
        if self.is_standby:
            yield Fault(
                "the database server is a standby and read-only", "DATABASE_URL must lead to the primary server"
            )
        elif self.is_read_only:
            remedy = self.read_only_reset or "set default_transaction_read_only = off in its configuration"
            what = "database is" if self.read_only_reset else "database server is"
            yield Fault(f"the {what} read-only", remedy)
        if self.encoding != "UTF8":
            yield Fault(
                f"the encoding of the database is {self.encoding} and must be UTF8",
                "CREATE DATABASE taskmanager_utf8 TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C' "
                "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8', move the data there with pg_dump, and name it in "
                "DATABASE_URL",
            )
        for schema in self.closed_schemas:
            yield Fault(
                f"the database role may not use the schema {schema}", f"GRANT USAGE ON SCHEMA {schema} TO {self.role}"
            )
        if self.closed_revision_table:
            yield Fault(
                f"the database role may not read the table {self.closed_revision_table}",
                f"GRANT SELECT ON {self.closed_revision_table} TO {self.role}",
            )

    def right_faults(self) -> Iterator[Fault]:
        """Yield which rights on the tables of the service the role lacks; of use where they are the service's."""
        if not self.missing_rights or not self.has_tables:
            return
        rights = defaultdict[tuple[str, str], list[str]](list)
        for kind, right, relation, _ in self.missing_rights:
            rights["SEQUENCE " if kind == "S" else "", relation].append(right)
        relations = defaultdict[tuple[str, str], list[str]](list)
        for (kind, relation), missing in rights.items():
            relations[", ".join(right for right in (*_RIGHTS, "USAGE") if right in missing), kind].append(relation)
        names = ", ".join(dict.fromkeys(name for *_, name in self.missing_rights))
        yield Fault(
            f"the database role lacks rights on {names}",
            "; ".join(
                f"GRANT {missing} ON {kind}{', '.join(there)} TO {self.role}"
                for (missing, kind), there in relations.items()
            ),
        )

    def extension_faults(self) -> Iterator[Fault]:
        """Yield what the indexes need and is not there; the service answers without it, but searches slowly."""
        for name in self.missing_extensions:
            yield Fault(f"the extension {name} is missing", f"CREATE EXTENSION {name}, then build the missing indexes")
        yield from self._hidden_extension_faults()

    def creation_faults(self) -> Iterator[Fault]:
        """Yield why a migration could not write its tables, indexes and extensions."""
        if self.schema is None:
            yield Fault("no schema of the search_path is there", "CREATE SCHEMA public, or set another search_path")
        elif not self.may_create:
            yield Fault(
                f"the database role may not create tables in the schema {self.schema}",
                f"GRANT CREATE ON SCHEMA {self.schema} TO {self.role}",
            )
        if self.tables_of_others:
            yield Fault(
                f"the database role does not own {', '.join(self.tables_of_others)}",
                "migrate as the role that made them, or as a member of it",
            )
        if self.missing_extensions and not self.may_create_extensions:
            names = " and ".join(self.missing_extensions)
            yield Fault(
                f"the database role may not create the extensions {names}",
                f"GRANT CREATE ON DATABASE {self.database} TO {self.role}, or "
                + "; ".join(f"CREATE EXTENSION {name}" for name in self.missing_extensions)
                + " as a superuser",
            )
        yield from self._hidden_extension_faults()

    def _hidden_extension_faults(self) -> Iterator[Fault]:
        if self.hidden_trigrams:
            yield Fault(
                f"the extension pg_trgm is in the schema {self.hidden_trigrams}, where the search_path does not lead",
                f"ALTER EXTENSION pg_trgm SET SCHEMA {self.schema or 'public'}, or add {self.hidden_trigrams} to the "
                "search_path of the role",
            )


async def read_state(connection: AsyncSession | AsyncConnection, metadata: MetaData) -> DatabaseState:
    """Return what a connection shows; asks for the rights on every table of the service that is there.

    Args:
        connection: In no transaction, or at its beginning.
        metadata: Where the tables are declared; those of features that are not imported yet are added.

    Raises:
        sqlalchemy.exc.DBAPIError: The server refused, or the connection was lost.
        OSError: The server cannot be reached.
    """
    _import_tables()
    needed = [
        (table.name, right)
        for table in metadata.sorted_tables
        for right in _RIGHTS
        if (table.name, right) not in UNUSED_RIGHTS
    ]
    needed += [(name, "USAGE") for name in NAMED_SEQUENCES]
    parameters = {
        "relations": [name for name, _ in needed],
        "rights": [right for _, right in needed],
        "revision_tables": _REVISION_TABLES,
        "extensions": _EXTENSIONS,
    }
    row = (await connection.execute(_STATE, parameters)).mappings().one()
    return DatabaseState(**row)


@cache
def _import_tables() -> None:
    for name in table_modules():
        import_module(name)


def table_modules() -> list[str]:
    """Return the names of the modules that declare tables: the models of every package that has some."""
    package = import_module(_PACKAGE)
    packages = (found.name for found in pkgutil.iter_modules(package.__path__, f"{_PACKAGE}.") if found.ispkg)
    return [f"{name}.models" for name in packages if find_spec(f"{name}.models")]
