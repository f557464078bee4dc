"""Many runs of one function, on one machine or on many: the same numbers, and none lost.

A sweep is a function and a list of cells, the arguments of its runs. A run must take all its
chance from its cell (a seed there, ``np.random.default_rng(seed)`` inside); it gets one thread,
wherever it runs, so that its digits depend neither on the number of workers nor on who they are.

Needs the extra `sweeps`: joblib, threadpoolctl and, for many machines, dask.
"""

import contextlib
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from dpo_edu import _checks

Cell = Mapping[str, Any]
# The allocator of the C library gives freed memory back at once, and NumPy asks for it again: with
# these it is kept, up to a gigabyte.
ALLOCATION = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**30)}


def grid(**values: Iterable[Any]) -> list[dict[str, Any]]:
    """Every combination, the last named fastest, as the arguments of a run each.

    >>> grid(beta=[0.1, 1.0], seed=range(2))[:3]
    [{'beta': 0.1, 'seed': 0}, {'beta': 0.1, 'seed': 1}, {'beta': 1.0, 'seed': 0}]
    """
    return [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]


def run(
    function: Callable[..., Any],
    cells: Sequence[Cell],
    *,
    workers: int = 1,
    client: Any = None,
    store: str | Path | None = None,
    restarts: int = 3,
    progress: bool = False,
) -> list[Any]:
    """``[function(**cell) for cell in cells]``, whoever computes it.

    Parameters
    ----------
    function : of a module, or defined in a notebook. Its result is sent between processes.
    cells : the arguments of each run, for instance of `grid`.
    workers : processes on this machine; 1 computes here.
    client : a ``dask.distributed.Client`` whose workers compute instead (`local_client`, or a
        cluster's).
    store : a folder, the same for all workers, that keeps what is finished: a sweep that was
        interrupted goes on from there. A function whose source has changed is run again.
    restarts : how often a dead worker of this machine is replaced and what it had is run again;
        dask has its own bound (`distributed.scheduler.allowed-failures`, 3).
    progress : show a bar.

    Raises
    ------
    ValueError
        If an argument is not of that form.

    What a run raises is raised here; finished runs are in the store.

    >>> run(pow, grid(base=[2, 3], exp=[1, 2]))
    [2, 4, 3, 9]
    """
    _checks.positive_int("workers", workers)
    call = function
    if store is not None:  # as text: for joblib a path is another folder
        call = joblib.Memory(str(Path(store).absolute()), verbose=0).cache(function)
    found: dict[int, Any] = {}
    hidden = not progress or os.environ.get("TQDM_DISABLE") == "1"
    with tqdm(total=len(cells), disable=hidden, unit="run") as bar, _backend(workers, client):
        for restart in itertools.count():
            left = (i for i in range(len(cells)) if i not in found)
            runs = (joblib.delayed(_alone)(call, i, cells[i]) for i in left)
            try:
                for i, value in joblib.Parallel(return_as="generator_unordered")(runs):
                    found[i] = value
                    bar.update()
                break
            except TerminatedWorkerError:
                if restart >= restarts:
                    raise
    return [found[i] for i in range(len(cells))]


@contextlib.contextmanager
def local_client(workers: int = 2) -> Iterator[Any]:
    """A dask cluster of so many processes on this machine, as a client for `run`.

    >>> with local_client(1) as client:
    ...     run(pow, grid(base=[2, 3], exp=[2]), client=client)
    [4, 9]
    """
    from dask.distributed import Client, LocalCluster

    size = {"n_workers": _checks.positive_int("workers", workers), "threads_per_worker": 1}
    with (
        LocalCluster(**size, dashboard_address=None, env=ALLOCATION) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextlib.contextmanager
def _backend(workers: int, client: Any) -> Iterator[None]:
    """Where joblib computes, with workers that keep their memory."""
    before = {name: os.environ.get(name) for name in ALLOCATION}
    os.environ.update(ALLOCATION)
    chosen = {"backend": "dask", "client": client} if client else {"backend": "loky"}
    try:
        with joblib.parallel_config(**chosen, n_jobs=-1 if client else workers):
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _alone(call: Callable[..., Any], i: int, cell: Cell) -> tuple[int, Any]:
    """One run, on one thread, with its place."""
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else 1
    try:
        if torch:
            torch.set_num_threads(1)
        with threadpool_limits(1):
            return i, call(**cell)
    finally:
        if torch:
            torch.set_num_threads(threads)
