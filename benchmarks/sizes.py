"""Which number of processes and connections a server is measured with: the best of a grid, tried before the rounds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import geometric_mean
from typing import Any

from benchmarks.database import Postgres
from benchmarks.load_generator import send, warm_up
from benchmarks.servers import RunningServer, Size

CONNECTIONS = 64
_SECONDS = 1
_SECONDS_OF_ALL = 150  # of the trials of all servers
_SECONDS_TO_START = 8  # of each trial: a new database, the start, the warm-up


@dataclass(frozen=True)
class Trial:
    """What a server did with one size: good answers a second for each work, and their geometric mean."""

    server: str
    size: Size
    rates: dict[str, float]

    @property
    def mean(self) -> float:
        """The mean in which no work has more weight for being faster."""
        return geometric_mean(max(rate, 0.1) for rate in self.rates.values())

    def as_dict(self) -> dict[str, Any]:
        """Return everything by name."""
        return {
            "server": self.server,
            **asdict(self.size),
            "connections": CONNECTIONS,
            "mean": round(self.mean, 1),
            "requests_per_second": {work: round(rate, 1) for work, rate in self.rates.items()},
        }


def choose_works(works: Sequence[str], trials: int) -> list[str]:
    """Return as many of the works, evenly over all, as so many trials have the time for, one at least."""
    count = min(len(works), max(1, _SECONDS_OF_ALL // max(1, trials) - _SECONDS_TO_START))
    return [works[place * len(works) // count] for place in range(count)]


def try_sizes(server: RunningServer, postgres: Postgres, template_url: str, works: Sequence[str]) -> list[Trial]:
    """Measure each size of the server's grid, each on a database of its own."""
    known = [work for work in works if server.kind.knows(work)]
    trials = []
    for size in server.kind.sizes():
        server.reset(postgres, template_url, size)
        warm_up(server, known)
        rates = {}
        for work in known:
            outcome = send(server, work, connections=CONNECTIONS, seconds=_SECONDS, seed=0)
            rates[work] = (outcome["requests"] - outcome["refused"]) / outcome["seconds"]
        trials.append(Trial(server.kind.name, size, rates))
        print(
            f"{server.kind.name}: processes {size}: {trials[-1].mean:,.0f}/s, mean at {CONNECTIONS} connections",
            flush=True,
        )
    return trials


def best(trials: Sequence[Trial]) -> Size:
    """Return the size that did most."""
    return max(trials, key=lambda trial: trial.mean).size


def trial_table(trials: Sequence[Trial]) -> str:
    """Return the means of all trials as a Markdown table."""
    heads = f"| Trial before the rounds | Processes | Requests/s, mean at {CONNECTIONS} connections |"
    rows = (f"| {trial.server} | {trial.size} | {trial.mean:,.0f} |" for trial in trials)
    works = ", ".join(dict.fromkeys(work for trial in trials for work in trial.rates))
    return "\n".join((heads, "|---|---|---|", *rows, "", f"The mean is the geometric one of {works}."))
