"""Do the unit tests pass whatever Hypothesis draws, and in any order?

python -m tools.flaky [--seeds 30] [--first 0] [--orders 3] [--only gibbs]

Each seed runs the property tests once (the others do not see it); then all unit tests and doctests
run in each order: forwards, backwards, shuffled. Nothing is remembered from run to run; every
failing test is named.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tools import mutants

ORDERS = ("forwards", "backwards", "shuffled")


class Ordered:
    """A pytest plugin: tests in another order, and the ids of those that failed, in a file."""

    def __init__(self, order: str | None, seed: int, file: str) -> None:
        self.order, self.seed, self.file = order, seed, file

    def pytest_collection_modifyitems(self, items: list) -> None:
        """Turn the order round, or shuffle it by the seed."""
        if self.order == "backwards":
            items.reverse()
        elif self.order == "shuffled":
            random.Random(self.seed).shuffle(items)

    def pytest_runtest_logreport(self, report: object) -> None:
        """Write down what failed."""
        if report.failed:
            with open(self.file, "a", encoding="utf-8") as file:
                file.write(f"{report.nodeid}\n")


def failures(root: Path, tests: list[str], seed: int, order: str | None) -> list[str]:
    """The ids of the tests that fail with this seed in this order; of property tests, if None."""
    descriptor, file = tempfile.mkstemp()
    os.close(descriptor)
    options = ["-q", "-p", "no:cacheprovider", "-o", "addopts=--doctest-modules", "--tb=no"]
    options += [f"--hypothesis-seed={seed}", "--hypothesis-profile=fresh"]
    options += [] if order else ["-m", "hypothesis"]

    def work() -> int:
        import pytest

        os.chdir(root)
        sys.path.insert(0, "")
        return int(pytest.main([*options, *tests], plugins=[Ordered(order, seed, file)]))

    status = mutants.forked(work, 3600)
    with open(file, encoding="utf-8") as lines:
        found = lines.read().split("\n")[:-1]
    os.remove(file)
    return found or [f"pytest ended with status {status}"] * (status != 0)


def main(arguments: list[str] | None = None, root: Path = mutants.ROOT) -> int:
    """A line for each run and each failure; 1 if there was any."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=30, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--orders", type=int, default=len(ORDERS), help="how many of the orders")
    parser.add_argument("--only", metavar="NAME", help="only the tests of this name")
    options = parser.parse_args(arguments)
    tests = [f"tests/test_{options.only}.py"]
    if options.only is None:
        tests = [*mutants.unit_tests(root), "dpo_edu"]
    mutants.warm_up()
    from hypothesis import settings

    settings.register_profile("fresh", deadline=None, database=None, derandomize=False)
    last = options.first + options.seeds
    runs = [(seed, None) for seed in range(options.first, last)]
    runs += [(last + at, order) for at, order in enumerate(ORDERS[: options.orders])]
    failed: Counter[str] = Counter()
    for seed, order in runs:
        started = time.monotonic()
        found = failures(root, tests, seed, order)
        failed.update(found)
        seconds = time.monotonic() - started
        what = f"all {order}" if order else "properties"
        print(f"  seed {seed:2} {what:13} {len(found)} failed, {seconds:.0f} s", flush=True)
        for test in found:
            print(f"    {test}", flush=True)
    print(f"{len(runs)} runs, {failed.total()} failures of {len(failed)} tests")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
