"""The flow of the client that openapi-python-client makes; run where that is installed, with the service's URL."""

import sys
import time
from http import HTTPStatus

from task_manager_api_client import AuthenticatedClient, Client
from task_manager_api_client.api.accounts import create_token, register
from task_manager_api_client.api.comments import create_comment
from task_manager_api_client.api.projects import create_project
from task_manager_api_client.api.tasks import create_task, list_tasks, update_task
from task_manager_api_client.models import (
    CommentText,
    PasswordGrant,
    ProjectCreate,
    TaskCreateAnywhere,
    TaskStatus,
    TaskUpdate,
    UserCreate,
)

url, name = sys.argv[1], f"person_{time.time_ns()}"
open_client = Client(base_url=url)
phrase = "correct horse battery"
register.sync(client=open_client, body=UserCreate(username=name, email=f"{name}@example.com", password=phrase))
login = create_token.sync(client=open_client, body=PasswordGrant(username=name, password=phrase))
client = AuthenticatedClient(base_url=url, token=login.access_token)
project = create_project.sync(client=client, body=ProjectCreate(name="Website"))
task = create_task.sync(client=client, body=TaskCreateAnywhere(title="Write the copy", project_id=project.id))
known = f'"{task.version}"'
update_task.sync(task.id, client=client, body=TaskUpdate(status=TaskStatus.COMPLETED), if_match=known)
stale = update_task.sync_detailed(task.id, client=client, body=TaskUpdate(priority=5), if_match=known)
assert stale.status_code == HTTPStatus.PRECONDITION_FAILED, stale
create_comment.sync(task.id, client=client, body=CommentText(body="Done."))
found = list_tasks.sync(client=client, project_id=[project.id])
assert [one.status for one in found.tasks] == [TaskStatus.COMPLETED], found
