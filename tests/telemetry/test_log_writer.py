"""The writer of the log: lines stay whole and in order, and nobody waits for whoever reads them."""

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

import pytest

from taskmanager.telemetry.log_writer import LAST_SECONDS, QUEUE_BYTES, WHOLE_BYTES, LogWriter

LINE = b'{"n": %6d, "text": "' + b"x" * 220 + b'"}\n'


def describe_gap(lines: int) -> bytes:
    return b'{"lines": %d}\n' % lines


def told_by(text: bytes) -> int:
    """Return how many lines are missing, by what stands there for them."""
    return sum(int(lines) for lines in re.findall(rb'{"lines": (\d+)}\n', text))


def opened(descriptor: int) -> LogWriter:
    writer = LogWriter()
    writer.open(descriptor, describe_gap)
    return writer


def read_until(descriptor: int, condition: Callable[[bytes], bool]) -> bytes:
    text = b""
    while not condition(text):
        piece = os.read(descriptor, 65_536)
        assert piece, "the writer has ended"
        text += piece
    return text


class Pipe(NamedTuple):
    """A pipe, and a writer to it."""

    source: int
    target: int
    writer: LogWriter


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    source, target = os.pipe()
    writer = opened(target)
    yield Pipe(source, target, writer)
    with suppress(OSError):
        os.close(source)
    writer.flush()  # all of it fails, so that nothing is left for whatever gets this descriptor next
    os.close(target)


def test_lines_are_written_in_order_and_in_pieces_that_stay_whole() -> None:
    reader, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # keeps one write apart from the next
    with reader, sender:
        writer = opened(sender.fileno())
        long_line = b"y" * 3 * WHOLE_BYTES + b"\n"
        numbers = iter(range(1_000))
        given = b""
        for size in (1, 40, 3, 40, 1):
            lines = b"".join(LINE % next(numbers) for _ in range(size)) + long_line
            writer.write(lines)
            given += lines
        pieces: list[bytes] = []
        while len(b"".join(pieces)) < len(given):
            pieces.append(reader.recv(1 << 20))
        writer.flush()
    assert b"".join(pieces) == given
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert [piece for piece in pieces if len(piece) > WHOLE_BYTES] == [long_line] * 5
    assert len(pieces) < 30
    assert writer.dropped == 0


def test_lines_that_do_not_fit_are_dropped_and_counted_where_they_are_missing(pipe: Pipe) -> None:
    source, _, writer = pipe
    given = 4 * QUEUE_BYTES // len(LINE)
    for number in range(given):
        writer.write(LINE % number)
    dropped = writer.dropped
    assert dropped > 0
    writer.write(b"".join(LINE % number for number in range(given, given + 7)))
    assert writer.dropped == dropped + 7

    # All that is kept is read, then the line that ends the last gap.
    text = read_until(source, lambda text: told_by(text) == dropped + 7)
    writer.write(LINE % (given + 7))
    text += read_until(source, lambda text: text.endswith(b"\n"))
    due = 0
    for line in map(json.loads, text.splitlines()):
        if "n" in line:
            assert line["n"] == due
        due += line.get("lines", 1)
    assert due == given + 8
    assert writer.dropped == dropped + 7


def test_what_waits_is_bounded(pipe: Pipe) -> None:
    writer = pipe.writer
    for _ in range(20):
        writer.write(b"x" * 1_000_000 + b"\n")
        assert len(writer._waiting) <= QUEUE_BYTES
    assert writer.dropped >= 15


def test_a_line_longer_than_the_queue_is_dropped_and_no_other(pipe: Pipe) -> None:
    source, _, writer = pipe
    writer.write(b"x" * QUEUE_BYTES + b"\n")
    assert read_until(source, lambda text: text.endswith(b"\n")) == describe_gap(1)
    writer.write(LINE % 1)
    assert read_until(source, lambda text: text.endswith(b"\n")) == LINE % 1


def test_nobody_waits_for_a_reader_that_stands_still(pipe: Pipe) -> None:
    writer = pipe.writer
    began = time.monotonic()
    for number in range(20_000):
        writer.write(LINE % number)
    assert time.monotonic() - began < 2
    began = time.monotonic()
    writer.close()
    assert LAST_SECONDS <= time.monotonic() - began < LAST_SECONDS + 0.5
    # Once that time is over, no later line takes any.
    began = time.monotonic()
    for number in range(100):
        writer.write(LINE % number)
    assert time.monotonic() - began < 0.5


def test_after_the_close_each_line_is_written_before_the_next_step(pipe: Pipe) -> None:
    source, _, writer = pipe
    os.set_blocking(source, False)
    writer.write(LINE % 0)
    writer.close()
    assert os.read(source, 65_536) == LINE % 0
    for number in range(50):
        writer.write(LINE % number)
        assert os.read(source, 65_536) == LINE % number


def test_a_reader_that_is_gone_costs_lines_and_nothing_else(pipe: Pipe) -> None:
    source, _, writer = pipe
    os.close(source)
    for number in range(5):
        writer.write(LINE % number)
    writer.flush()
    assert writer.dropped == 5
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1


def test_no_descriptor_at_all_is_the_same() -> None:
    writer = opened(-1)
    writer.write(LINE % 1)
    writer.flush()
    assert writer.dropped == 1


def test_a_full_disk_is_told_of_when_there_is_room_again(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    source, _, writer = pipe

    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("taskmanager.telemetry.log_writer.os.write", fail)
        writer.write((LINE % 1) * 3)
        writer.flush()
        writer.write(LINE % 2)
        writer.flush()
    assert writer.dropped == 4
    writer.write(LINE % 3)
    assert read_until(source, lambda text: b"lines" in text) == LINE % 3 + describe_gap(4)


def test_a_thread_that_fails_is_followed_by_another(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target, writer = pipe
    has_ended = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: has_ended.set())

    def fail(_: int) -> bytes:
        raise MemoryError

    writer.open(target, fail)
    writer.write(b"x" * QUEUE_BYTES + b"\n")
    writer.flush()
    assert has_ended.wait(10)
    writer.open(target, describe_gap)
    writer.write(LINE % 1)
    assert read_until(source, lambda text: text.endswith(b"\n")) == LINE % 1


def test_a_pipe_that_another_process_has_set_not_to_wait_loses_nothing(pipe: Pipe) -> None:
    source, target, writer = pipe
    os.set_blocking(target, False)
    given = b"".join(LINE % number for number in range(2_000))
    writer.write(given)
    time.sleep(0.1)  # until it is full
    assert read_until(source, lambda text: len(text) >= len(given)) == given
    assert writer.dropped == 0


def test_a_line_in_the_middle_of_another_waits_for_nobody(pipe: Pipe) -> None:
    # A finaliser may log whenever the collector runs it.
    source, _, writer = pipe

    class Logging(bytes):
        def count(self, *arguments: object) -> int:
            writer.write(LINE % 2)
            return 1

    signal.alarm(10)
    try:
        writer.write(Logging(b"x" * QUEUE_BYTES + b"\n"))
    finally:
        signal.alarm(0)
    assert writer.dropped == 2
    assert read_until(source, lambda text: text.endswith(b"\n")) == describe_gap(2)


_FORK = """
import os, sys, threading
from taskmanager.telemetry.log_writer import LogWriter

writer = LogWriter()
writer.open(1, lambda lines: b"%d lines dropped\\n" % lines)
for _ in range(3):
    writer.write(b"p" * 1_500_000 + b"\\n")
assert writer.dropped
print("full", file=sys.stderr, flush=True)
# A lock that another thread holds at that moment is free in the child.
holder = threading.Thread(target=writer._changed.acquire)
holder.start()
holder.join()
child = os.fork()
if child == 0:
    assert writer.dropped == 0
    writer.write(b"from the child\\n")
    writer.close()
    os._exit(0)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_fork_writes_its_own_lines_and_none_of_its_parent() -> None:
    source, target = os.pipe()
    with os.fdopen(source, "rb") as reader:
        command = [sys.executable, "-W", "ignore", "-c", _FORK]
        process = subprocess.Popen(command, stdout=target, stderr=subprocess.PIPE)
        os.close(target)
        assert process.stderr is not None
        with process, process.stderr:
            # Were it read before, the writer could be faster than the lines come, and nothing would be dropped.
            assert process.stderr.readline() == b"full\n"
            text = reader.read()
            assert process.wait(20) == 0
    # Perhaps in the middle of a line of its parent, which is longer than what reaches a pipe in one piece.
    assert text.count(b"from the child\n") == 1
    assert text.replace(b"from the child\n", b"").count(b"p" * 1_500_000 + b"\n") <= 2


_LAST_LINES = """
import logging, structlog
from taskmanager.telemetry.logs import configure_logging

configure_logging(readable=False)
for number in range(1_000):
    structlog.stdlib.get_logger("test").warning("line", number=number)
"""


def test_the_end_of_a_process_loses_no_line() -> None:
    result = subprocess.run([sys.executable, "-c", _LAST_LINES], stdout=subprocess.PIPE, timeout=60, check=True)
    assert [json.loads(line)["number"] for line in result.stdout.splitlines()] == list(range(1_000))


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full", "| true"])
def test_a_process_without_a_reader_ends_well(redirection: str) -> None:
    command = f'set -o pipefail; "$0" -c "$1" {redirection}'
    result = subprocess.run(
        ["bash", "-c", command, sys.executable, _LAST_LINES], stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
