"""A sweep gives the same numbers wherever it runs, loses none, and runs none twice."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dpo_edu import sweeps

pytestmark = pytest.mark.slow
CELLS = sweeps.grid(beta=[0.1, 1.0], votes=[10, 1000], seed=range(3))


def draws(beta: float, votes: int, seed: int) -> np.ndarray:
    """Something whose last digits depend on the order of sums, and so on the number of threads."""
    matrix = np.random.default_rng([seed, votes]).normal(size=(300, 300))
    return np.linalg.solve(matrix @ matrix.T + beta * np.eye(300), matrix[0])


def noted(folder: str, cell: int, fails: int | None = None) -> int:
    """A run that leaves a line behind, and fails at one cell as long as there is no leave."""
    with (Path(folder) / "runs").open("a") as file:
        file.write(f"{cell}\n")
    if cell == fails and not (Path(folder) / "leave").exists():
        raise OSError("no leave")
    return cell**2


def mortal(folder: str, cell: int) -> int:
    """A run that at one cell, the first time, is killed with its worker."""
    mark = Path(folder) / "died"
    if cell == 5 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    return cell**2


def runs(folder: Path) -> list[int]:
    return sorted(map(int, (folder / "runs").read_text().split()))


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with sweeps.local_client(2) as found:
        yield found


@pytest.fixture(scope="module")
def here() -> list[np.ndarray]:
    return sweeps.run(draws, CELLS)


@pytest.mark.parametrize("workers", [2, 3])
def test_processes_change_no_bit(here: list[np.ndarray], workers: int) -> None:
    there = sweeps.run(draws, CELLS, workers=workers)
    assert [a.tobytes() for a in there] == [a.tobytes() for a in here]


def test_a_cluster_changes_no_bit(here: list[np.ndarray], client: Any) -> None:
    there = sweeps.run(draws, CELLS, client=client)
    assert [a.tobytes() for a in there] == [a.tobytes() for a in here]


def test_another_seed_changes_them(here: list[np.ndarray]) -> None:
    moved = sweeps.run(draws, [cell | {"seed": cell["seed"] + 1} for cell in CELLS])
    assert all((a != b).any() for a, b in zip(moved, here, strict=True))


@pytest.mark.parametrize("where", ["processes", "cluster"])
def test_a_killed_workers_runs_are_run_again(tmp_path: Path, client: Any, where: str) -> None:
    cells = sweeps.grid(folder=[str(tmp_path)], cell=range(20))
    place = {"client": client} if where == "cluster" else {"workers": 2}
    assert sweeps.run(mortal, cells, **place) == [cell**2 for cell in range(20)]
    assert (tmp_path / "died").exists()


def test_a_worker_that_always_dies_is_given_up(tmp_path: Path) -> None:
    cells = sweeps.grid(folder=[str(tmp_path)], cell=[5])
    with pytest.raises(sweeps.TerminatedWorkerError):
        sweeps.run(mortal, [*cells, *cells], workers=2, restarts=0)


@pytest.mark.parametrize("where", ["here", "processes", "cluster"])
def test_what_is_finished_is_not_run_again(tmp_path: Path, client: Any, where: str) -> None:
    place = {"here": {}, "processes": {"workers": 2}, "cluster": {"client": client}}[where]
    cells = sweeps.grid(folder=[str(tmp_path)], cell=range(8), fails=[7])
    options = {"store": tmp_path / "store", **place}
    with pytest.raises(OSError, match="no leave"):
        sweeps.run(noted, cells, **options)
    (tmp_path / "leave").touch()
    assert sweeps.run(noted, cells, **options) == [cell**2 for cell in range(8)]
    assert runs(tmp_path).count(7) == 2
    assert len(runs(tmp_path)) <= 7 + 2 + 2  # two others may have been in hand when it failed
    assert sweeps.run(noted, cells, **options) == [cell**2 for cell in range(8)]
    assert runs(tmp_path).count(7) == 2  # all is in the store


def held(folder: str, cell: int) -> int:
    """A run that, from the tenth cell on, waits for leave."""
    while cell >= 10 and not (Path(folder) / "leave").exists():
        time.sleep(0.02)
    return noted(folder, cell)


def test_a_sweep_that_is_interrupted_goes_on_where_it_was(tmp_path: Path) -> None:
    code = (
        "import signal, sys; from test_sweeps import held; from dpo_edu import sweeps\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # also behind nohup or &\n"
        "cells = sweeps.grid(folder=[sys.argv[1]], cell=range(20))\n"
        "sweeps.run(held, cells, workers=2, store=sys.argv[1] + '/store')\n"
    )
    places = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], env=os.environ | places,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until = time.monotonic() + 60
    while not (tmp_path / "runs").exists() or len(runs(tmp_path)) < 10:
        assert time.monotonic() < until
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=30) != 0
    assert runs(tmp_path) == list(range(10))
    (tmp_path / "leave").touch()
    cells = sweeps.grid(folder=[str(tmp_path)], cell=range(20))
    found = sweeps.run(held, cells, store=tmp_path / "store")
    assert found == [cell["cell"] ** 2 for cell in cells]
    assert len(runs(tmp_path)) <= 20 + 2  # what the two workers had in hand is run again


def test_a_function_of_a_notebook_is_sent_too() -> None:
    scale = 3

    def local(seed: int) -> int:
        return scale * seed

    assert sweeps.run(local, sweeps.grid(seed=range(4)), workers=2) == [0, 3, 6, 9]


def test_a_number_of_workers_is_a_number() -> None:
    with pytest.raises(ValueError, match="workers: expected"):
        sweeps.run(pow, [], workers=0)
