"""What names mean wherever the API uses them, and a value for the samples.

A name that means something else in one place is described there, by `Field(description=..., examples=[...])`.
"""

from typing import Any, Final, NamedTuple

_MOMENT: Final = "2026-01-31T12:00:00.000000Z"


class Meaning(NamedTuple):
    """A description, and a value that a sample shows; None shows what the type suggests."""

    description: str
    example: Any = None


MEANINGS: Final = {
    "access_token": Meaning("Goes into `Authorization: Bearer ...`.", "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl"),
    "action": Meaning("What was done. There may be other actions later.", "updated"),
    "actor": Meaning("Who did it; null for the system and for deleted accounts."),
    "archived": Meaning("True for a project in which nothing can be changed.", False),
    "assignee_id": Meaning("Id of the member who is to do it; null for nobody.", 1),
    "author": Meaning("Who wrote it; null once the account is deleted."),
    "body": Meaning("The text, of any number of lines.", "The first draft is in the shared folder."),
    "changes": Meaning("The fields that changed, by name, before and after."),
    "comment_id": Meaning("Id of the comment.", 1),
    "completed_at": Meaning("When it became completed; null as long as it is not.", None),
    "confirm_password": Meaning("The new password again."),
    "created_at": Meaning("When it was made.", _MOMENT),
    "created_by": Meaning("Id of the account that made it; null once the account is deleted.", 1),
    "current_password": Meaning("The password of now."),
    "cursor": Meaning("`next_cursor` of the page before; everything else in the query stays the same."),
    "deleted": Meaning("Whether it is gone; then only what names it follows.", False),
    "description": Meaning("Text of any number of lines; null for none.", "The first draft, for everybody to read."),
    "disabled": Meaning("True while an administrator has shut the account out.", False),
    "display_name": Meaning("What to show; null for the user name.", None),
    "due_at": Meaning("When it is due; null for never, and where a day is given.", _MOMENT),
    "due_on": Meaning("The day on which it is due, without a time; null for none.", None),
    "delivery_id": Meaning("Id of the webhook's message.", 1),
    "email": Meaning("The e-mail address, in lower case.", "ada@example.com"),
    "errors": Meaning("Each value that was refused."),
    "expires_at": Meaning("When it ends; null for never.", "2099-12-31T23:59:59.000000Z"),
    "id": Meaning("The id, which never changes.", 1),
    "ids": Meaning("Ids of tasks of one project, none twice.", [2, 3]),
    "is_admin": Meaning("Whether the account is an administrator's.", False),
    "key_id": Meaning("Id of the API key.", 1),
    "kind": Meaning("Why it came. There may be other reasons later.", "assigned"),
    "last_used_at": Meaning("When it was last used; null for never.", _MOMENT),
    "limit": Meaning("How many elements a page has at most.", 20),
    "message": Meaning("A sentence for people.", "All tasks deleted"),
    "name": Meaning("The name, one line.", "Website"),
    "new_password": Meaning("The new password."),
    "next_cursor": Meaning("`cursor` of the next page; null on the last one.", None),
    "notification_id": Meaning("Id of the notification.", 1),
    "order": Meaning("Which end of the list comes first.", "desc"),
    "password": Meaning("The password.", "demo-password"),
    "personal": Meaning("True for the caller's own Inbox.", False),
    "priority": Meaning("From 1, the lowest, to 5.", 3),
    "project_id": Meaning("Id of the project.", 2),
    "read_at": Meaning("When it was read; null as long as it is not.", None),
    "refresh_token": Meaning("Good once, for new tokens.", "rt_1_0_c2lnbmF0dXJl"),
    "request_id": Meaning("Names the request in the service's log.", "0b6f4c1e9d3a4f0c8d5e2a7b1c3f6e9d"),
    "role": Meaning("What the person may do in the project.", "editor"),
    "scopes": Meaning("What the key may be used for.", ["tasks:read"]),
    "session_id": Meaning("Id of the login.", 1),
    "section_id": Meaning("Id of the section of the project; null for none.", 1),
    "skip": Meaning("How many elements to leave out before the page; 0 with a cursor.", 0),
    "sort_by": Meaning("By what the list is sorted.", "created_at"),
    "start_at": Meaning("When work on it begins; null for no such time.", None),
    "status": Meaning("How far it is.", "in_progress"),
    "tags": Meaning("Words to find it by, in lower case, sorted, each once.", ["text"]),
    "task_id": Meaning("Id of the task.", 2),
    "task_title": Meaning("The title of the task.", "Write the copy"),
    "time_zone": Meaning("The zone in which the account's days begin and end (IANA).", "Europe/Berlin"),
    "title": Meaning("One line that says what it is.", "Write the copy"),
    "token_type": Meaning("Always `bearer`.", "bearer"),
    "total": Meaning("How many elements match, on all pages together; null if not counted.", 1),
    "updated_at": Meaning("When it last changed.", _MOMENT),
    "user_agent": Meaning("What the client called itself; null if it did not.", "Mozilla/5.0"),
    "user_id": Meaning("Id of the person.", 2),
    "username": Meaning("The user name.", "ada"),
    "webhook_id": Meaning("Id of the webhook.", 1),
    "version": Meaning("Counts its changes; the ETag has it too.", 1),
}


def meaning_of(name: str) -> Meaning | None:
    """Return what a name means everywhere; of a name such as `label_id` by its form."""
    if (known := MEANINGS.get(name)) is None and name.endswith("_id"):
        return Meaning(f"Id of the {name.removesuffix('_id').replace('_', ' ')}.", 1)
    return known
