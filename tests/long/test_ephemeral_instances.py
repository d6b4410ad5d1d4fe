"""Ephemeral instances, many at the same time, and killed at any moment: none leaves anything."""

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import Request, urlopen

from tests.support.ephemeral_instances import EphemeralInstance

_INSTANCES = 20
_KILLS = 60
_LATEST_SECONDS = 3.0


def _post(instance: EphemeralInstance, path: str) -> None:
    with urlopen(Request(instance.url + path, method="POST"), timeout=60):
        pass


def test_twenty_instances_serve_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    first = EphemeralInstance(tmp_path / "first", cache=tmp_path / "cache")
    instances = [first]
    try:
        assert first.url  # the template is there
        began = time.monotonic()
        for number in range(_INSTANCES):
            folder = tmp_path / str(number)
            folder.mkdir()
            instances.append(EphemeralInstance(folder, cache=tmp_path / "cache"))
        addresses = {instance.url for instance in instances}
        print(f"\n{_INSTANCES} instances serve after {time.monotonic() - began:.1f} s")
        assert len(addresses) == _INSTANCES + 1
        for instance in instances:
            _post(instance, "/testing/users")
            _post(instance, "/testing/reset")
        for instance in instances:
            instance.process.terminate()
        for instance in instances:
            assert instance.process.wait(60) == 0
            instance.assert_gone()
    finally:
        for instance in instances:
            instance.close()


def test_nothing_is_left_whenever_one_of_their_processes_is_killed(tmp_path: Path) -> None:
    seed = random.randrange(1_000_000)
    chance = random.Random(seed)
    print(f"\nseed {seed}")
    victims = dict[str, int]()
    for number in range(_KILLS):
        folder = tmp_path / str(number)
        folder.mkdir()
        # Every other one makes the template first.
        instance = EphemeralInstance(folder, cache=folder / "cache" if number % 2 else tmp_path / "cache")
        try:
            time.sleep(chance.uniform(0, _LATEST_SECONDS))
            pid, line = chance.choice(sorted(instance.processes().items()) or [(instance.process.pid, "itself")])
            name = " ".join(line.split()[:4])[-40:]
            victims[name] = victims.get(name, 0) + 1
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            if "postgres: " in line or " --boot" in line or line.startswith("cp "):
                # A server process is replaced, and a new cluster or a copy is only a failure: it may go on.
                time.sleep(0.2)
                instance.process.terminate()
            instance.assert_gone()
            assert not list(tmp_path.rglob("*.new"))
        finally:
            instance.close()
    print(victims)
