"""What a database's catalogue says about the schema, to compare."""

import re
from typing import Any

from sqlalchemy import make_url

from taskmanager.database.schema_version import FORMER_VERSION_TABLE, VERSION_TABLE
from tests.support.server import connect

# Everything of the public schema that PostgreSQL knows about, without names and order of its own making.
CATALOGUE = """
SELECT 'table' AS kind, c.relname AS owner, c.relname AS name,
       concat_ws(' ', c.relkind::text, c.relpersistence::text,
                 CASE c.relkind WHEN 'v' THEN pg_get_viewdef(c.oid) END, 'granted ' || c.relacl::text) AS definition
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
UNION ALL
SELECT 'column', c.relname, a.attname, concat_ws(' ', format_type(a.atttypid, a.atttypmod),
       CASE WHEN a.attnotnull THEN 'not null' END, 'identity ' || NULLIF(a.attidentity::text, ''),
       'generated ' || NULLIF(a.attgenerated::text, ''), 'default ' || pg_get_expr(d.adbin, d.adrelid),
       'collate ' || NULLIF(a.attcollation, 0)::regcollation::text)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'constraint', k.conrelid::regclass::text, k.conname, pg_get_constraintdef(k.oid)
FROM pg_constraint k WHERE k.connamespace = 'public'::regnamespace
UNION ALL
SELECT 'index', i.indrelid::regclass::text, i.indexrelid::regclass::text,
       concat_ws(' ', pg_get_indexdef(i.indexrelid), CASE WHEN NOT i.indisvalid THEN 'invalid' END)
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'trigger', t.tgrelid::regclass::text, t.tgname, pg_get_triggerdef(t.oid)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = 'public'::regnamespace AND NOT t.tgisinternal
UNION ALL
SELECT 'statistics', s.stxrelid::regclass::text, s.stxname, pg_get_statisticsobjdef(s.oid)
FROM pg_statistic_ext s WHERE s.stxnamespace = 'public'::regnamespace
UNION ALL
SELECT 'function', '', p.proname, pg_get_functiondef(p.oid)
FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prokind IN ('f', 'p')
   AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.objid = p.oid AND e.deptype = 'e')
UNION ALL
SELECT 'type', '', t.typname, t.typtype::text
FROM pg_type t WHERE t.typnamespace = 'public'::regnamespace AND t.typtype IN ('d', 'e')
UNION ALL
SELECT 'sequence', '', c.relname, '' FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'S'
UNION ALL
SELECT 'extension', '', e.extname, '' FROM pg_extension e
"""

Catalogue = set[tuple[Any, ...]]
_ERA = re.compile(r"default \d+")


def without_extensions(catalogue: Catalogue) -> Catalogue:
    """Return the rest: extensions may be in use by others, so no downgrade takes them away."""
    return {row for row in catalogue if row[0] != "extension"}


def without_version(catalogue: Catalogue) -> Catalogue:
    """Return the rest: no model and no migration has the table of the revision."""
    return {row for row in catalogue if row[1] not in {VERSION_TABLE, FORMER_VERSION_TABLE}}


async def catalogue_of(url: str) -> Catalogue:
    """Return all that a database's catalogue says about the schema."""
    connection = await connect(make_url(url))
    try:
        await connection.execute("SET search_path = public")  # by which names are written
        found = {tuple(row) for row in await connection.fetch(CATALOGUE)}
    finally:
        await connection.close()
    # An application that has started on a copy of the database has begun an era.
    return {(*row[:3], _ERA.sub("default 0", row[3])) if row[1:3] == ("events", "era") else row for row in found}


def without_functions(catalogue: Catalogue) -> Catalogue:
    """Return the rest: models declare no functions, no triggers that call them, and no statistics."""
    return {row for row in catalogue if row[0] not in {"function", "trigger", "statistics"}}
