"""What the tests of several files in tests/telemetry share: metrics pages."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import METRICS_TOKEN

BEARER = {"Authorization": f"Bearer {METRICS_TOKEN}"}


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples_in(page: str) -> Samples:
    """Return the values of an exposition by name and labels."""
    return {
        (sample.name.removeprefix("taskmanager_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


async def scrape(client: httpx.AsyncClient) -> Samples:
    """Read the metrics."""
    response = await client.get("/metrics", headers=BEARER)
    assert response.status_code == 200, response.text
    return samples_in(response.text)


def value(samples: Samples, name: str, **labels: str) -> float:
    """Return a value, 0 if it is not there yet."""
    return samples.get((name, frozenset(labels.items())), 0)
