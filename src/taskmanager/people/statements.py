"""SQL for people as others see them: one of them, and everybody whom an answer names."""

from taskmanager.database.json_rows import json_object, json_page
from taskmanager.events.schemas import Person

# A version that knew no such name may have deleted the account and left it.
PERSON = json_object(Person, "person", display_name="CASE WHEN person.deleted_at IS NULL THEN person.display_name END")


def people_named(ids: str) -> str:
    """Return SQL for the field `people` of an answer as text, `"people":{"7":{...}}`.

    `ids` is SQL for an array of any dimensions with the ids of those who are named, again and again or NULL as it may
    be; it must not use the alias `person`.
    """
    people = f"""(
        SELECT string_agg(concat('"', person.id, '":', {PERSON}), ',' ORDER BY person.id)
        FROM users person WHERE person.id = ANY({ids})
    )"""
    return f"""concat('"people":{{', {people}, '}}')"""


def with_people(*ids: str) -> str:
    """Return SQL for `people` as a further field of a `json_object`, for the ids or NULLs that it names."""
    return f"concat(',', {people_named('ARRAY[' + ', '.join(ids) + ']')})"


def page_with_people(rows: str, json: str, *ids: str, descending: bool = False) -> str:
    """Return SQL for a page as `json_page` has it, with a column `more` that has the field `people`.

    `ids` are SQL for the ids that a `row` of the page names, or NULL.
    """
    named = f", array_agg(ARRAY[{', '.join(ids)}]) FILTER (WHERE row.place < :limit) AS people_ids"
    page = json_page(rows, json, descending=descending, columns=named)
    return f"""
        SELECT page.*, convert_to(concat({people_named("page.people_ids")}, ','), 'UTF8') AS more FROM ({page}) AS page
    """
