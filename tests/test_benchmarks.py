"""The benchmarks run, and what they count agrees with what docs/benchmarks.md says."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tools import bench

ROOT = Path(__file__).resolve().parent.parent


def benchmark(name: str) -> ModuleType:
    """A script of the folder benchmarks, loaded without being run."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def counts(line: str) -> list[int]:
    """The numbers of a line but for the last, which are seconds."""
    return [int(n) for n in re.findall(r"(?<![\d^⁻])\d+(?![\d⁻])", line.replace(",", ""))][:4]


def test_the_roads_cost_what_the_page_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    roads = benchmark("roads")
    monkeypatch.setattr(roads, "REPEATS", 1)
    roads.main()
    printed = [counts(line) for line in capsys.readouterr().out.splitlines()[1:]]
    page = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    rows = [counts(row) for row in page.splitlines() if re.match(r"\| .* \d+ \|", row)]
    assert len(printed) == len(rows) == 5
    for found, row in zip(printed, rows, strict=True):
        assert found == pytest.approx(row, rel=0.05)  # another processor may need a step more


def test_a_policy_trained_for_the_comparison_of_devices_arrives() -> None:
    devices = benchmark("devices")
    run = devices.trained("table", 16, "cpu")
    assert run.converged
    assert run.history.kl[-1] < 1e-12


def test_the_sweep_shows_one_over_n_for_dpo_and_another_end_for_ipo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = benchmark("sweep")
    monkeypatch.setattr(sys, "argv", ["sweep.py", "--seeds", "1"])
    monkeypatch.setenv("TQDM_DISABLE", "1")
    sweep.main()
    lines = capsys.readouterr().out.splitlines()
    dpo, ipo = np.array([re.findall(r"\d\.\d\de.\d\d", line) for line in lines[:9]], dtype=float).T
    dpo, ipo = dpo.reshape(3, 3), ipo.reshape(3, 3)  # three betas, three numbers of votes
    assert dpo[:, 1] / dpo[:, 2] == pytest.approx([10, 10, 10], rel=0.2)
    assert ipo[:, 1] / ipo[:, 2] == pytest.approx([1, 1, 1], rel=0.1)


def test_a_goal_is_met_or_missed_and_never_on_a_time() -> None:
    both = {"goal": ">= 0.97 <= 1.03"}
    assert [bench.Row("r", x, **both).met for x in (0.96, 0.97, 1.03, 1.04)] == [0, 1, 1, 0]
    assert not bench.Row("r", float("nan"), goal="<= 1").met
    assert "MISSED" in bench.line(bench.Row("r", 2.0, "×", "<= 1"))
    assert "missed. It is slow." in bench.said(bench.Row("r", 2.0, "×", "<= 1", "It is slow."))
    with pytest.raises(ValueError, match="a goal on a ratio, got one in ms"):
        bench.Row("step", 3.0, "ms", "<= 5")


def test_contestants_take_turns_and_the_ratio_is_of_rounds() -> None:
    turns: list[str] = []
    taken = bench.race({name: lambda n=name: turns.append(n) for name in "ab"}, rounds=2)
    assert turns == ["a", "b"] * 3
    assert [len(seconds) for seconds in taken.values()] == [2, 2]
    assert bench.ratio({"a": [1.0, 6.0, 9.0], "b": [1.0, 2.0, 3.0]}, "a", "b") == 3


def test_every_benchmark_is_there_and_its_record_can_be_read() -> None:
    for name in bench.NAMES:
        assert (ROOT / "benchmarks" / f"{name}.py").exists()
    for name, found in bench.recorded().items():
        assert name in bench.NAMES
        for row in found["rows"]:
            assert bench.line(bench.Row(**row))
