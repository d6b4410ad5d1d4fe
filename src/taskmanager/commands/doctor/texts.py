"""Looks at how text is stored and searched, and at what older versions left of it."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from taskmanager.commands.doctor.findings import Finding, ok, warning
from taskmanager.database.composed_text import TextTable
from taskmanager.database.database import Base

# pg_trgm asks the locale of the database what a letter is.
_KNOWS_LETTERS = text("SELECT '\u00fc' ~ '^[[:alpha:]]$'")
_FORMER = text("""
    SELECT string_agg('DROP INDEX CONCURRENTLY ' || relname, '; ' ORDER BY relname) FROM pg_class
    WHERE oid IN (to_regclass('tasks_title_idx'), to_regclass('tasks_search_idx'))
""")


async def examine_locale(session: AsyncSession) -> list[Finding]:
    """Look at what the locale of the database knows of letters."""
    if (await session.execute(_KNOWS_LETTERS)).scalar_one():
        return []
    return [
        warning(
            "the locale of the database knows ASCII letters only: a search for a word without any finds it, but reads"
            " all tasks of the projects; in a database made with LOCALE_PROVIDER builtin LOCALE 'C.UTF-8' it does not"
        )
    ]


async def examine_texts(session: AsyncSession) -> list[Finding]:
    """Look at texts that are not in Unicode's form C, and at the indexes of older versions."""
    findings = []
    for table in Base.metadata.sorted_tables:
        texts: TextTable | None = table.info.get("texts")
        if texts is None:
            continue
        found = (await session.execute(text(texts.count.sql))).one()
        if found.waiting:
            findings.append(ok(f"{found.waiting} rows of {texts.name} wait for the background to put them in form C"))
        if found.staying:
            findings.append(
                warning(
                    f"{found.staying} rows of {texts.name} hold text that would get too long or collide with another"
                    f" in Unicode's form C, so that a search may miss them: change it in {', '.join(found.keys)}"
                )
            )
    if former := (await session.execute(_FORMER)).scalar_one():
        findings.append(
            warning(
                "indexes that only versions for the schema at 0004 and before read slow down writes: once none of these"
                f" runs any more, {former}"
            )
        )
    return findings
