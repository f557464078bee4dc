"""The benchmarks run, and what they count agrees with what docs/benchmarks.md says."""

import functools
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from dpo_edu import gibbs, preferences
from dpo_edu.policies import TinyTransformer
from dpo_edu.sequences import SequenceSpace
from dpo_edu.training import fit_table
from tools import bench, notebooks

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
    page = (ROOT / "docs" / "benchmarks.md").read_text("utf-8").partition("\n## CPU")[0]
    rows = [counts(row) for row in page.splitlines() if re.match(r"\| .* \d+ \|", row)]
    assert len(printed) == len(rows) == 5
    for found, row in zip(printed, rows, strict=True):
        assert found == pytest.approx(row, rel=0.05)  # another processor may need a step more


def test_a_policy_trained_for_the_comparison_of_devices_arrives() -> None:
    devices = benchmark("devices")
    run = devices.trained("table", 16, "cpu")
    assert run.converged
    assert run.history.kl[-1] < 1e-12


def test_sparse_pairs_of_a_population_pull_to_the_optimum_and_hold_there() -> None:
    devices, space = benchmark("devices"), SequenceSpace(3, 2)
    fit, optimum = devices.population_fit(space, "cpu")
    pulled = []
    for seed in (1, 2):  # the reference, and the network that is the optimum
        fit.policy.load_state_dict(TinyTransformer(space, **devices.SIZE, seed=seed).state_dict())
        slopes = torch.autograd.grad(fit.look()[1], fit.parameters)
        pulled.append(max(slope.abs().max().item() for slope in slopes))
    assert np.abs(devices.reference(fit.policy) - optimum).max() < 1e-6
    assert pulled[1] < 1e-6 < 1e-3 < pulled[0]


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


def test_ours_and_the_bare_formula_find_the_same_policy_and_log_z() -> None:
    responses = benchmark("responses")
    for size in (1, 7, 100_000):
        reward, ref = responses.problem(size)
        bare = responses.bare_policy(reward, ref, 0.3)
        assert gibbs.optimal_policy(reward, ref, beta=0.3) == pytest.approx(bare, rel=1e-12)
        bare = responses.bare_log_partition(reward, ref, 0.3)
        assert gibbs.log_partition(reward, ref, beta=0.3) == pytest.approx(bare, rel=1e-12)


def test_memory_is_counted_in_arrays() -> None:
    responses, size = benchmark("responses"), 1_000_000
    three = responses.arrays_at_once(lambda: [np.ones(size) for _ in range(3)], size)
    assert three == pytest.approx(3, abs=0.01)
    reward, ref = responses.problem(size)
    for function in (gibbs.optimal_policy, gibbs.log_partition):
        for beta in (0.3, 1e3):  # log Z far from zero, and near
            run = functools.partial(function, reward, ref, beta=beta)
            assert responses.arrays_at_once(run, size) < 2.05


def test_ours_and_the_bare_formula_find_the_same_loss_and_gradient() -> None:
    pair_loss = benchmark("pair_loss")
    logps = pair_loss.pairs(50)
    ours, bare = pair_loss.ours(*logps), pair_loss.bare(*logps)
    assert ours.tolist() == bare.tolist()
    for one, other in zip(*(pair_loss.gradients(x, logps) for x in (ours, bare)), strict=True):
        assert one.tolist() == other.tolist()
        assert one.abs().min() > 0


def test_every_benchmark_is_there_and_its_record_can_be_read() -> None:
    for name in bench.NAMES:
        assert (ROOT / "benchmarks" / f"{name}.py").exists()
    for name, found in bench.recorded().items():
        assert name in bench.NAMES
        for row in found["rows"]:
            assert bench.line(bench.Row(**row))


def test_the_statistic_is_one_at_the_bound_and_counts_what_adam_sees() -> None:
    limit = benchmark("limit")
    wins = limit.samples(400)
    optimum = gibbs.optimal_policy(limit.TRUTH, limit.UNIFORM, beta=limit.BETA)
    assert limit.statistic(optimum[None]) == pytest.approx(0, abs=1e-20)
    refs = np.tile(limit.UNIFORM, (400, 1))
    found = np.exp(fit_table(refs, wins, beta=limit.BETA).log_probs)
    assert limit.statistic(found) == pytest.approx(1, abs=0.1)
    assert limit.statistic(np.exp(fit_table(refs, wins, beta=1).log_probs)) > 10  # another beta
    winner, loser = limit.votes_of(wins[:2], np.random.default_rng(0))
    for k in range(2):
        pairs = preferences.PreferencePairs(np.zeros(limit.VOTES, int), winner[k], loser[k])
        assert (preferences.count_wins(pairs, (1, 4))[0] == wins[k]).all()


def test_adam_on_minibatches_goes_where_dpo_goes() -> None:
    limit = benchmark("limit")
    wins = limit.samples(3)
    near = np.exp(fit_table(np.tile(limit.UNIFORM, (3, 1)), wins, beta=limit.BETA).log_probs)
    off = [np.abs(limit.by_adam(wins, epochs) - near).max() for epochs in (1, 10)]
    assert off[0] > 0.05 > 0.02 > off[1]


def test_the_tables_of_the_race_agree_and_the_peers_arrive() -> None:
    table = benchmark("table")
    task = table.problem(6)
    for found in (task.by_reward(), task.by_dpo()):
        assert task.distance(found) < 1e-20
        assert task.distance(found[::-1]) > 0.1
    steps, rate = table.steps_of_adam(task)
    seen: list[float] = []
    table.by_adam(task, rate, steps + 1, lambda found: bool(seen.append(task.distance(found))))
    assert [kl <= table.NEAR for kl in seen] == [False] * steps + [True]
    seen.clear()
    steps = table.steps_of_lbfgs(task)
    table.by_lbfgs(task, steps, lambda found: seen.append(task.distance(found)))
    assert [kl <= table.NEAR for kl in seen] == [False] * (steps - 1) + [True]
    pairs = table.votes_on(5)
    np.testing.assert_allclose(table.by_choix(pairs, 5), table.fit(pairs, 5), rtol=0, atol=1e-10)


def test_the_floor_of_a_notebook_ends_with_its_imports(tmp_path: Path) -> None:
    rooms = benchmark("rooms")
    for path in notebooks.numbered():
        cells = notebooks.read(rooms.only_imports(path, tmp_path)).cells
        assert [cell.id for cell in cells if cell.cell_type == "code"] == ["imports"]


def test_trl_and_we_are_given_one_problem_that_our_training_solves() -> None:
    transformer = benchmark("transformer")
    given = transformer.problem(tokens=3, length=3, votes=20_000)
    reference = given.policy().log_probs()[0].detach().double().numpy()
    assert given.left(reference) == pytest.approx(1, abs=1e-5)
    assert given.left(np.log(given.optimum)) < 1e-12
    assert (given.ref @ given.optimum) < 1  # another policy, so that there is something to learn
    assert transformer.train_ours(given)[1] < 0.5


def test_a_step_of_the_benchmark_goes_down_and_its_products_are_those_of_linear_layers() -> None:
    transformer = benchmark("transformer")
    given = transformer.problem(tokens=3, length=3, votes=1_000)
    policy = given.policy()
    before = [weight.clone() for weight in policy.parameters()]
    transformer.products_of(policy)()
    pairs = zip(policy.parameters(), before, strict=True)
    assert all(torch.equal(now, then) for now, then in pairs)
    with torch.profiler.profile() as seen:
        transformer.products_of(policy)()
    products = next(row for row in seen.key_averages() if row.key == "aten::mm")
    assert products.count == 3 * (4 * len(policy.blocks) + 1)


def test_a_problem_drawn_for_the_defaults_is_one_of_many_and_its_training_arrives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    defaults = benchmark("defaults")
    every = defaults.spaces()
    assert {space.end_token for space in every} == {False, True}
    assert max(space.size for space in every) == 1024
    monkeypatch.setattr(defaults, "spaces", lambda: [SequenceSpace(3, 3, end_token=True)])
    found = defaults.trained(0)
    assert found.responses == 15
    assert found.arrived
    assert not found._replace(kl=1e-11).arrived
    assert not found._replace(converged=False).arrived


def test_a_ring_connects_all_responses_of_a_prompt_and_no_others() -> None:
    growth = benchmark("growth")
    votes = growth.ring(np.zeros((2, 5)), 30)
    wins = preferences.count_wins(votes, (2, 5))
    assert wins.sum() == 10 + 30
    apart = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    assert (wins[:, (apart != 1) & (apart != 4)] == 0).all()
    assert ((wins + wins.swapaxes(1, 2))[:, (apart == 1) | (apart == 4)] > 0).all()


def test_an_exponent_is_that_of_a_power() -> None:
    growth = benchmark("growth")
    assert growth.exponent({n: 3.0 * n**1.5 for n in (1, 10, 100)}) == pytest.approx(1.5)


def test_the_loss_of_the_benchmark_of_many_falls_at_every_step() -> None:
    growth = benchmark("growth")
    assert (np.diff(growth.many(SequenceSpace(4, 3), steps=5)) < 0).all()


def test_the_chain_of_the_benchmark_agrees_with_an_identity() -> None:
    growth = benchmark("growth")
    assert growth.chain(places=4, tokens=5)[1] < 1e-12


def test_the_costliest_notebooks_are_those_with_the_most_seconds_beyond_their_imports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rooms = benchmark("rooms")
    monkeypatch.setattr(rooms, "COSTLY", 2)
    found = rooms.rows_of(["a", "b", "c"], [1.0, 5.0, 2.0], [6.0, 11.0, 3.0])
    assert [row.value for row in found.each] == [2, 11 / 5, 6]
    assert "`b`" in found.each[1].what and "`a`" in found.each[2].what
    assert found.why == "Of the time beyond the imports 92% is that of the 2 named here."
