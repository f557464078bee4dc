"""What a second worker is worth in a sweep, and what a sweep of a million runs costs."""

from benchmarks.sweep import distance
from dpo_edu import sweeps
from tools.bench import Row, race, ratio


def measure() -> list[Row]:
    """The same cells by one worker and by two, in turn: ratio, agreement, seconds a run."""
    cells = sweeps.grid(beta=[0.5], votes=[10_000], loss=["dpo"], seed=range(48))
    found = {}

    def by(workers: int) -> None:
        found[workers] = sweeps.run(distance, cells, workers=workers)

    taken = race({"one": lambda: by(1), "two": lambda: by(2)}, rounds=5)
    each = sorted(taken["one"])[2] / len(cells)
    apart = sum(a != b for a, b in zip(found[1], found[2], strict=True))
    return [
        Row("one worker over two", ratio(taken, "one", "two"), "×", ">= 1.8"),
        Row("results of two workers that differ in any bit", apart, "", "<= 0"),
        Row("a run, of 1,000 samples of 10,000 votes", each * 1e3, "ms"),
        Row("a sweep of a million runs, by one core", each * 1e6 / 3600, "h"),
    ]
