"""A state machine against a small model: random people act, and every answer and every list has to equal the model's.

`ACCESS_MODEL_STEPS=10000 pytest tests/service/test_access_model.py -s` runs longer than the suite's 1,000 steps.
"""

import os
from collections import Counter

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.access_machine import served
from tests.support.access_of_lists import AccountRules, ListRules
from tests.support.access_of_people import PeopleRules
from tests.support.access_of_projects import ProjectRules
from tests.support.access_of_tasks import CommentRules, TaskRules

STEPS = int(os.environ.get("ACCESS_MODEL_STEPS", "1000"))
STEPS_PER_EXAMPLE = 50


class Access(ProjectRules, TaskRules, CommentRules, ListRules, AccountRules, PeopleRules):
    """People who create, share, change, move and delete at random."""


def test_every_answer_and_every_list_equals_the_model(database_url: str) -> None:
    with served(database_url) as service:
        Access.service = service
        Access.steps = 0
        Access.statuses = Counter()
        while Access.steps < STEPS:
            examples = max(1, (STEPS - Access.steps) // STEPS_PER_EXAMPLE)
            options = settings(
                max_examples=examples,
                stateful_step_count=STEPS_PER_EXAMPLE,
                deadline=None,
                database=None,
                phases=(Phase.generate, Phase.shrink),
                suppress_health_check=list(HealthCheck),
            )
            run_state_machine_as_test(Access, settings=options)
    print(f"\n{Access.steps} steps, answers by status: {dict(sorted(Access.statuses.items()))}")
    # Each kind of answer has been met, or the machine only knocks at closed doors.
    assert set(Access.statuses) >= {200, 201, 204, 401, 403, 404, 409, 422}
    assert sum(count for status, count in Access.statuses.items() if status < 300) > Access.steps / 4
