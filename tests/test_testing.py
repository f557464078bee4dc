"""What other people's test suites call, and the dump of a trainer made by hand."""

import json
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dpo_edu import audit, losses, runlogs, testing


def test_the_first_step_of_a_loss_passes_and_another_does_not():
    testing.assert_first_step(np.full(3, np.log(2)))
    testing.assert_first_step(25.0, name="ipo", beta=0.1)
    testing.assert_first_step(torch.tensor(np.log(2)))
    with pytest.raises(AssertionError, match="1 is what hinge begins with"):
        testing.assert_first_step(1.0)
    with pytest.raises(AssertionError, match="1.386 is what nca_pair begins with"):
        testing.assert_first_step(2 * np.log(2))
    with pytest.raises(AssertionError, match="0.7 is no loss's constant"):
        testing.assert_first_step(0.7)
    with pytest.raises(ValueError, match="name: expected one of|loss: expected one of"):
        testing.assert_first_step(0.7, name="dpo")


def dpo(*sums, beta):
    return losses.dpo_loss(*(torch.tensor(x) for x in sums), beta=beta)


SLIPS = {
    "with beta twice": lambda *sums, beta: dpo(*sums, beta=beta**2),
    "without beta": lambda *sums, beta: dpo(*sums, beta=1.0),
    "without the reference": lambda w, v, rw, rv, *, beta: dpo(w, v, 0 * rw, 0 * rv, beta=beta),
    "with chosen and rejected swapped": lambda w, v, rw, rv, *, beta: dpo(v, w, rv, rw, beta=beta),
}


def test_a_loss_agrees_with_itself_and_with_its_formula():
    testing.assert_losses_agree(dpo, dpo, beta=0.1)
    formula = lambda w, v, rw, rv, *, beta: np.logaddexp(0, -beta * ((w - rw) - (v - rv)))  # noqa: E731
    testing.assert_losses_agree(dpo, formula, beta=0.1)


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_named(slip):
    with pytest.raises(AssertionError, match=f"the second is the first {slip}"):
        testing.assert_losses_agree(dpo, SLIPS[slip], beta=0.1)


def test_what_is_no_usual_slip_is_said_to_be_none():
    with pytest.raises(AssertionError, match="no usual slip explains it"):
        testing.assert_losses_agree(dpo, lambda *sums, beta: dpo(*sums, beta=0.3), beta=0.1)
    with pytest.raises(
        AssertionError, match=r"expected two losses \(200,\), got \(200,\) and \(\)"
    ):
        testing.assert_losses_agree(dpo, lambda *sums, beta: 1.0, beta=0.1)


class Trainer:
    """What `DumpPairs` asks of a DPOTrainer: the loss gathers the same six things in the end."""

    def __init__(self):
        self.accelerator = SimpleNamespace(gather=lambda tensor: tensor)
        self.beta, self.state = 0.5, SimpleNamespace(global_step=7)
        self.processing_class = SimpleNamespace(eos_token_id=9)
        self.model = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=[9, 8]))

    def compute_loss(self, model, inputs, return_outputs=False):
        logps = torch.tensor([-3.0, -5.0]), torch.tensor([-4.0, -6.0])
        rewards = torch.tensor([0.5, -1.0]), torch.tensor([1.0, 0.0])
        other = torch.zeros(2)
        for tensor in (torch.ones(1), *rewards, other, other, *logps):
            self.accelerator.gather(tensor)
        loss = torch.tensor(0.25)
        return (loss, None) if return_outputs else loss


@pytest.mark.parametrize(
    ("said", "ended"), [((3, 9), True), ((9, 3), True), ((8, 3), True), ((9, 3, 3), False)]
)
def test_an_end_token_may_be_one_of_several_and_have_a_new_line_after_it(tmp_path, said, ended):
    trainer, path, row = Trainer(), tmp_path / "pairs.jsonl", torch.tensor([[1, *said]] * 4)
    inputs = {"input_ids": row, "attention_mask": 0 * row + 1, "completion_mask": 1 * (row != 1)}
    testing.DumpPairs(trainer, path)
    trainer.compute_loss(SimpleNamespace(training=True), inputs)
    assert json.loads(path.read_text().splitlines()[0])["chosen_ended"] is ended


INPUTS = {
    "input_ids": torch.tensor([[1, 2, 3, 9], [1, 2, 5, 0], [1, 2, 4, 0], [1, 2, 5, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0]]),
    "completion_mask": torch.tensor([[0, 0, 1, 1], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 1, 0]]),
}


def test_a_dump_holds_each_pair_and_is_read_back(tmp_path):
    trainer, path = Trainer(), tmp_path / "pairs.jsonl"
    testing.DumpPairs(trainer, path)
    assert trainer.compute_loss(SimpleNamespace(training=True), INPUTS).item() == 0.25
    assert trainer.compute_loss(SimpleNamespace(training=False), INPUTS, True)[0].item() == 0.25
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["split"] for row in rows] == ["train", "train", "eval", "eval"]
    assert [row["batch"] for row in rows] == [1, 1, 2, 2]
    first, second = rows[:2]
    assert (first["chosen_logps"], first["ref_chosen_logps"]) == (-3.0, -3.0 - 0.5 / 0.5)
    assert (second["rejected_logps"], second["ref_rejected_logps"]) == (-6.0, -6.0)
    assert (first["chosen_tokens"], first["rejected_tokens"], first["step"]) == (2, 1, 7)
    assert (first["chosen_ended"], first["rejected_ended"]) == (True, False)
    assert (first["same"], second["same"]) == (False, True)
    assert first["prompt"] == second["prompt"] == zlib.crc32(np.array([1, 2]).tobytes())
    assert first["id"] != second["id"] and rows[2]["id"] == first["id"]
    pairs = runlogs.read_pairs(path)
    assert audit.audit_pairs.log_ratios(pairs)[:, 0].tolist() == [1.0, 2.0]
