"""The command line of `python -m benchmarks.run`."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.servers import PEER_NAMES, SERVICE, Size
from benchmarks.works import OWNED_WORKS, WORKS

RESULTS = Path(__file__).parent / "results"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Measure the service and its peers")
    add = parser.add_argument
    everyone = (SERVICE, *PEER_NAMES)
    add(
        "--servers",
        type=_names(everyone),
        default=(SERVICE, "fastify"),
        help=f"comma list of {', '.join(everyone)}; {SERVICE},fastify by default. The other peers know an owner column "
        f"only, and do {', '.join(OWNED_WORKS)}",
    )
    add("--works", type=_names(tuple(WORKS)), default=tuple(WORKS), help=f"comma list of {', '.join(WORKS)}")
    add("--connections", type=parse_numbers, default=(1, 8, 64, 512), help="comma list, 1,8,64,512 by default")
    add("--rounds", type=int, default=3, help="how often everything is measured, 3 by default")
    add("--seconds", type=int, default=2, help="seconds of each measurement, 2 by default")
    add("--tasks", type=int, default=100_000, help="tasks in each database, 100000 by default")
    add("--users", type=int, default=1_000, help="users who own them, 1000 by default")
    add(
        "--project-sizes",
        type=parse_numbers,
        default=(100_000, 1_000_000),
        help="sizes of one project for which p50 is measured besides, 100000,1000000 by default, 0 for none",
    )
    add("--seed", type=int, default=1, help="of the choice of users, tasks and works")
    add(
        "--processes",
        type=parse_sizes,
        default={},
        metavar="SERVER=N[xPOOL],...",
        help="processes of these servers and connections of each, instead of the best of a trial: fastify=1x10",
    )
    add("--baseline", help="the server that ratios refer to: fastify, or the first one without it")
    add("--env", type=_variable, action="append", default=[], metavar="NAME=VALUE", help="setting of taskmanager")
    add(
        *("--variant", "--variants"),
        type=_variant,
        action="append",
        default=[],
        metavar="LABEL:NAME=VALUE,...",
        help="one more server: taskmanager with these settings",
    )
    add(
        "--checkout",
        type=parse_checkout,
        action="append",
        default=[],
        metavar="LABEL:PATH",
        help="one more server: .venv/bin/taskmanager of another checkout",
    )
    add("--output", type=Path, default=RESULTS, help="folder for the results")
    return parser


def _names(known: Sequence[str]) -> Any:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(name.strip() for name in text.split(",") if name.strip())
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known are {', '.join(known)}")
        return names

    return parse


def parse_numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a comma list that are not 0."""
    return tuple(int(number) for number in text.split(",") if number != "0")


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text} is not NAME=VALUE")
    return name, value


def parse_sizes(text: str) -> dict[str, Size]:
    """Return the sizes of servers, from SERVER=N or SERVER=NxPOOL and commas."""
    sizes = {}
    for name, size in map(_variable, text.split(",")):
        processes, _, pool = size.partition("x")
        sizes[name] = Size(int(processes), int(pool) if pool else None)
    return sizes


def _label(text: str) -> tuple[str, str]:
    label, colon, rest = text.partition(":")
    if not (label.isidentifier() and colon) or label in (SERVICE, *PEER_NAMES):
        raise argparse.ArgumentTypeError(f"{text} does not begin with a new label of letters, digits and _ and a colon")
    return label, rest


def _variant(text: str) -> tuple[str, dict[str, str]]:
    label, rest = _label(text)
    return label, dict(_variable(variable) for variable in rest.split(",") if variable)


def parse_checkout(text: str) -> tuple[str, Path]:
    """Return the label and the folder of LABEL:PATH.

    Raises:
        argparse.ArgumentTypeError: The label is malformed or that of a server.
    """
    label, path = _label(text)
    return label, Path(path).absolute()
