"""Measure ours and the peers in turn in one run, and print medians and ratios: ``python -m bench [--json FILE]``.

The machine may be busy: what counts is the ratio of two medians that were taken alternately.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import access, budgets, suites, tenants, trees
from bench.budgets import EMBEDDED, GOLDEN, MEMORY
from bench.embedded import ByHand, Embedded
from bench.floor import FLOOR, FilledDirectory, FilledVolume, Floor
from bench.migrations import Migrations
from bench.peers import Ansible, ComposeAndAlembic, Peer, Provision, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Rows = dict[str, dict[str, float]]
"""What was measured → who → seconds."""

OURS = Provision.name
TREES = {"1 revision": 1, "500 revisions": 500}
TABLES = (20, 500)
MIGRATED = {"1 revision": 1, "50 revisions": 50, "500 revisions": 500}
PARTS: Rows = {}
"""What our applies from nothing spent on what."""


def seconds(action: Callable[[], None]) -> float:
    """Return how long an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def in_turn(actions: dict[str, Callable[[], None]], rounds: int, between: Callable[[str], None]) -> dict[str, float]:
    """Return the median of each action; they alternate, and ``between`` runs untimed before each."""
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            between(name)
            taken[name].append(seconds(action))
    return {name: statistics.median(times) for name, times in taken.items()}


def measure_tree(
    label: str, ours: dict[str, Provision], peers: Sequence[Peer], floor: Floor, options: argparse.Namespace
) -> Rows:
    """Measure every way on one tree from nothing, and with nothing to do; ``ours`` are by the end of their rows' names.

    A row from a golden is left out where data of that kind begins with none.
    """
    plain = next(iter(ours))
    for forget in [each.forget for each in ours.values()]:
        options.finish.callback(forget)
    for each in (*ours.values(), *peers, floor):
        options.finish.callback(each.finish)
    floor.prepare()
    ours = {row: each for row, each in ours.items() if each.prepare()}
    every: dict[str, Peer] = {**{OURS + row: each for row, each in ours.items()}, **{p.name: p for p in peers}}
    every[FLOOR] = floor
    actions = {name: each.apply for name, each in every.items()}
    cold = in_turn(actions, options.rounds_from_nothing, lambda name: every[name].renew())
    others = {name: cold[name] for name in every if not name.startswith(OURS)}
    rows = {f"from nothing, {label}{row}": {OURS: cold[OURS + row], **others} for row in ours}
    PARTS.update({f"from nothing, {label}{row}": each.spent() for row, each in ours.items()})
    floor.renew()
    actions = {OURS: ours[plain].apply, **{each.name: each.apply for each in peers}}
    for action in actions.values():
        action()
    rows[f"nothing to do, {label}{plain}"] = in_turn(actions, options.rounds, lambda _: None)
    for each in every.values():
        each.renew()
    return rows


def measure_commands(spec: Path, rounds: int) -> Rows:
    """Measure what needs no server."""
    ours, alembic = Path(sys.executable).with_name("provision"), Path(sys.executable).with_name("alembic")
    found = {}
    for label, actions in {
        "--help": {"provision": lambda: run(ours, "--help"), "alembic": lambda: run(alembic, "--help")},
        "--version": {"provision": lambda: run(ours, "--version"), "alembic": lambda: run(alembic, "--version")},
        "validate": {"provision": lambda: run(ours, "validate", spec)},
    }.items():
        found[label] = in_turn(actions, rounds, lambda _: None)
    return found


def free_port() -> int:
    """Return a port of the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure_docker(directory: Path, tree: Path, label: str, options: argparse.Namespace) -> Rows:
    """Measure ours in a container against what is installed of the usual procedures."""

    def make(name: str, **more: Any) -> Provision:
        return Provision(directory / f"{name}-{tree.name}", tree, options.image, free_port(), **more)

    memory = "  data: {ephemeral: true}\n"
    ours = {
        "": make("volume"),
        GOLDEN: make("volume-golden", golden=True),
        MEMORY: make("memory", data=memory),
        MEMORY + GOLDEN: make("memory-golden", data=memory, golden=True),
    }
    kinds = [kind for kind in (ComposeAndAlembic, Ansible) if kind.is_available()]
    peers = [kind(directory / f"{kind.__name__}-{tree.name}", tree, options.image, free_port()) for kind in kinds]
    floor = FilledVolume(directory, tree, options.image, free_port())
    return measure_tree(label, ours, peers, floor, options)


def measure_embedded(directory: Path, tree: Path, label: str, options: argparse.Namespace) -> Rows:
    """Measure ours without Docker against the same by hand."""
    if not ByHand.is_available():
        return {}
    ours: dict[str, Provision] = {
        EMBEDDED: Embedded(directory / f"embedded-{tree.name}", tree, "", free_port()),
        EMBEDDED + GOLDEN: Embedded(directory / f"embedded-golden-{tree.name}", tree, "", free_port(), golden=True),
    }
    by_hand = ByHand(directory / f"hand-{tree.name}", tree, "", free_port())
    floor = FilledDirectory(directory / f"floor-{tree.name}", tree, "", free_port())
    return measure_tree(label, ours, [by_hand], floor, options)


def measure_migrations(directory: Path, options: argparse.Namespace) -> Rows:
    """Measure from an empty database to the head, on a server that runs."""
    found = {}
    for label, count in MIGRATED.items():
        tree = directory / f"migrated{count}"
        trees.make(tree, count)
        each = Migrations(directory / f"Migrations-{count}", tree, options.image, free_port())
        try:
            each.start()
            taken = in_turn(each.actions(), options.rounds, lambda _, each=each: each.empty())  # type: ignore[misc]
            found[f"empty to head, {label}"] = taken
        finally:
            each.destroy()
    return found


def measure_access(directory: Path, options: argparse.Namespace) -> Rows:
    """Measure what declared roles and access add to a run with nothing to do."""
    if not access.Access.is_available():
        return {}
    each = access.Access(directory / "Access", free_port())
    try:
        each.start()
        return {access.LABEL: in_turn(each.actions(), options.rounds, lambda _: None)}
    finally:
        each.destroy()


def measure_tenants(directory: Path, options: argparse.Namespace) -> Rows:
    """Measure what a tenant among many costs, in seconds of CPU, and how long nothing to do takes for all."""
    if not ByHand.is_available():
        return {}
    tree = directory / "tenants-tree"
    trees.make(tree, tenants.REVISIONS)
    each = tenants.Tenants(directory / "Tenants", tree, free_port())
    taken: dict[str, list[float]] = {name: [] for name in each.actions()}
    try:
        each.start()
        for _ in range(options.rounds_from_nothing):
            for name, action in each.actions().items():
                each.empty()
                taken[name].append(each.cpu(name, action))
        for kind in tenants.TENANTS:
            each.declare(kind)
            each.apply()
        nothing = in_turn(dict.fromkeys(tenants.TENANTS, each.apply), options.rounds, each.declare)
    finally:
        each.destroy()
    return {
        tenants.LABEL: {name: statistics.median(found) for name, found in taken.items()},
        tenants.NOTHING[0]: {OURS: nothing[tenants.DATABASES], tenants.ALLOWED: tenants.SECONDS},
        tenants.NOTHING[1]: {OURS: nothing[tenants.SCHEMAS], tenants.SCHEMA: nothing[tenants.SCHEMA]},
    }


def measure_suites(directory: Path, options: argparse.Namespace) -> Rows:
    """Measure suites of tests, each with a database of its own: in a server that runs, and with one of the run's own.

    What each test waited for its database is printed, because a median of it would be 0.
    """
    found = {}
    for tables in TABLES:
        tree = directory / f"tables{tables}"
        trees.make(tree, tables)
        each = suites.Suites(directory / f"Suites-{tables}", tree, options.image, free_port())
        ours = {"commits": "test_commits.py", "rolled back": "test_rolled_back.py"}
        actions = {label: lambda name=name, each=each: each.ours(name) for label, name in ours.items()}  # type: ignore[misc]
        actions["own server"] = lambda each=each: each.ours("test_commits.py", "alone")  # type: ignore[misc]
        peer = "pytest-postgresql"
        if suites.is_available():
            actions[peer] = each.theirs
        try:
            each.start()
            taken = in_turn(actions, options.rounds_from_nothing, lambda _, each=each: each.forget())  # type: ignore[misc]
        finally:
            each.destroy()
        for label in actions.keys() - {peer}:
            row = {OURS: taken[label]} | ({peer: taken[peer]} if peer in taken else {})
            found[f"{suites.TESTS} tests, {tables} tables, {label}"] = row
        for suite, said in each.waits.items():
            print(f"{tables} tables, {suite}: {said}", file=sys.stderr)
    return found


def ratios(results: Rows) -> Rows:
    """Return how many times as long each peer takes; and 500 revisions with nothing to do against 1."""
    found = {
        what: {peer: round(row[peer] / row[OURS], 2) for peer in row if peer != OURS} for what, row in results.items()
    }
    for suffix in ("", ", embedded"):
        one, many = (f"nothing to do, {each}{suffix}" for each in TREES)
        if many in results:
            found[many]["ours with 1 revision"] = round(results[one][OURS] / results[many][OURS], 2)
    return found


def parts_table(parts: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return what our applies spent on what as lines of a Markdown table, in milliseconds."""
    names = list(dict.fromkeys(name for row in parts.values() for name in row))
    lines = ["| ms | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for what, row in parts.items():
        cells = [f"{1000 * row[name]:.0f}" if name in row else "-" for name in names]
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    return lines


def table(results: Rows) -> list[str]:
    """Return the results as lines of a Markdown table; a ratio says how many times as long the peer takes."""
    peers = list(dict.fromkeys(name for row in results.values() for name in row))
    lines = ["| what | " + " | ".join(peers) + " |", "| --- |" + " --- |" * len(peers)]
    for what, row in results.items():
        ours = row[OURS]
        cells = [f"{ours:.3f} s"]
        cells += [f"{row[peer]:.3f} s ({row[peer] / ours:.1f} times)" if peer in row else "-" for peer in peers[1:]]
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Measure everything that this machine can."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the medians, in seconds, and the ratios here")
    parser.add_argument("--image", default="postgres:17", help="the image to start (%(default)s)")
    parser.add_argument("--rounds", type=int, default=11, help="runs with nothing to do (%(default)s)")
    parser.add_argument(
        "--only",
        choices=("docker", "embedded", "tenants"),
        help="measure from nothing on one runtime, or many tenants, and no more",
    )
    parser.add_argument("--rounds-from-nothing", type=int, default=3, help="runs from nothing (%(default)s)")
    options = parser.parse_args()
    before = os.getloadavg()[0]
    results: Rows = {}
    with tempfile.TemporaryDirectory(prefix="provision-bench-") as name, ExitStack() as options.finish:
        directory = Path(name)
        directory.chmod(0o755)  # as root, the servers without Docker run as another user
        if options.only in {None, "tenants"}:
            results |= measure_tenants(directory, options)
        for label, count in TREES.items() if options.only != "tenants" else ():
            tree = directory / f"tree{count}"
            trees.make(tree, count)
            if options.only != "embedded":
                results |= measure_docker(directory, tree, label, options)
            if options.only != "docker":
                results |= measure_embedded(directory, tree, label, options)
        if options.only is None:
            results |= measure_migrations(directory, options)
            results |= measure_access(directory, options)
            results |= measure_suites(directory, options)
            results |= measure_commands(directory / "volume-tree1" / "spec.yml", options.rounds)
    load = (before, os.getloadavg()[0])
    print("\n".join([*table(results), "", *parts_table(PARTS), "", *budgets.lines(ratios(results))]))
    print(f"\nmedians; the load was {load[0]:.1f} before and {load[1]:.1f} after, on {os.cpu_count()} CPUs")
    if options.json is not None:
        engine = subprocess.run(
            ("docker", "version", "--format", "{{.Server.Version}}"), capture_output=True, text=True, check=False
        )
        machine = {
            "python": platform.python_version(),
            "engine": engine.stdout.strip(),
            "image": options.image,
            "cpus": os.cpu_count(),
            "load": load,
        }
        options.json.write_text(
            json.dumps(
                {
                    "schema": "provision/bench/2",
                    "machine": machine,
                    "seconds": results,
                    "ratios": ratios(results),
                    "parts": PARTS,
                    "budgets": budgets.document(ratios(results)),
                },
                indent=1,
            )
        )


if __name__ == "__main__":
    main()
