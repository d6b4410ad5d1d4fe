"""People at work, for locust: `make load`, or `locust -f benchmarks/locustfile.py --host http://...`."""

from collections.abc import Collection, Mapping
from typing import Any, NoReturn

from locust import FastHttpUser, between, events, task
from locust.exception import RescheduleTask, StopUser

from benchmarks.person import Answer, Person, Team

_teams: list[Team] = []
_conflicts: list[int] = []


class WorkingPerson(FastHttpUser):
    """Somebody who registers and logs in once, then works with pauses of one to three seconds."""

    wait_time = between(1, 3)

    def on_start(self) -> None:
        """Register and log in; a user who cannot does no work."""
        self._person = Person(self._send, _teams, pause=self.wait)
        try:
            self._person.arrive()
        except RescheduleTask as error:
            raise StopUser from error

    def on_stop(self) -> None:
        """Remember how often somebody else was faster."""
        _conflicts.append(self._person.conflicts)

    @task(6)
    def read(self) -> None:
        """Open a task."""
        self._person.read()

    @task(5)
    def page(self) -> None:
        """Read some pages."""
        self._person.page()

    @task(4)
    def edit(self) -> None:
        """Change a task."""
        self._person.edit()

    @task(3)
    def create(self) -> None:
        """Create a task."""
        self._person.create()

    @task(1)
    def create_and_retry(self) -> None:
        """Create a task and send the request again."""
        self._person.create_and_retry()

    @task(2)
    def search(self) -> None:
        """Search for a word."""
        self._person.search()

    @task(2)
    def comment(self) -> None:
        """Comment on a task."""
        self._person.comment()

    @task(2)
    def read_notifications(self) -> None:
        """Look at the inbox."""
        self._person.read_notifications()

    def _send(
        self,
        method: str,
        path: str,
        *,
        name: str,
        accept: Collection[int],
        headers: Mapping[str, str],
        json: Any = None,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        with self.client.request(
            method, path, name=name, headers=dict(headers), json=json, data=form and dict(form), catch_response=True
        ) as response:
            if response.status_code not in accept:
                response.failure(f"{response.status_code} {response.error or (response.text or '')[:200]}")
                _give_up()
            response.success()
            body = response.json() if response.content else None
            headers_by_name = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status_code, body, headers_by_name)


def _give_up() -> NoReturn:
    raise RescheduleTask


@events.quitting.add_listener
def _tell_conflicts(**_: Any) -> None:
    print(f"Edits that somebody else had overtaken (412), each read and made again: {sum(_conflicts)}")
