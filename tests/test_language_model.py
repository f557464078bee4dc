"""A language model as a policy: the stored states give what the whole model gives."""

import math
from typing import Any

import pytest
import torch
from devices import DEVICES

from dpo_edu import language_model
from dpo_edu.language_model import LanguageModel
from dpo_edu.losses import dpo_loss

PROMPTS = [[3, 4, 5], [6, 7], [8]]
ANSWERS = [[9, 1], [10, 11, 12], [1]]
needs_lm = pytest.mark.lm


def test_without_the_extra_or_without_a_model_a_sentence_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(language_model.SOURCE, raising=False)
    with pytest.raises(ValueError, match="expected (the extra lm|a folder, a name on the hub)"):
        language_model.load()


class Letters:
    """A tokenizer whose tokens are letters."""

    eos_token_id = 1

    def decode(self, tokens: list[int], skip_special_tokens: bool = False) -> str:
        return "".join(chr(97 + i) for i in tokens if i != 1)


def whole(temperature: float = 1.0) -> Any:
    """A Llama of three blocks with random weights."""
    import transformers

    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "vocab_size": 20}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.5}
    ids = {"pad_token_id": 1, "eos_token_id": 1, "bos_token_id": 1}
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**size, **heads, **ids)).eval()
    model.model.norm.weight.data /= temperature
    return model


@pytest.fixture(params=DEVICES)
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return LanguageModel(whole().to(request.param), Letters(), upper=2, rank=4)


def moved(model: LanguageModel) -> LanguageModel:
    """With adapters that change something."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.trained:
            weight += 0.3 * torch.randn_like(weight)
    return model


def by_hand(model: Any, prompt: list[int], answer: list[int]) -> float:
    """log pi(y|x) by the whole model, one sequence alone, no padding."""
    with torch.no_grad():
        ids = torch.tensor([prompt + answer], device=model.device)
        scores = model(input_ids=ids).logits[0].log_softmax(-1)
    return sum(scores[len(prompt) - 1 + i, token].item() for i, token in enumerate(answer))


@needs_lm
def test_before_training_the_policy_is_the_reference(model: LanguageModel) -> None:
    found = model.answers(PROMPTS, ANSWERS).log_probs().tolist()
    assert found == pytest.approx(
        [by_hand(whole(), x, y) for x, y in zip(PROMPTS, ANSWERS, strict=True)]
    )


@needs_lm
def test_stored_states_give_what_the_whole_model_gives(model: LanguageModel) -> None:
    policy = moved(model).answers(PROMPTS, ANSWERS)
    found = policy.log_probs().tolist()
    assert found == pytest.approx(
        [by_hand(model.model, x, y) for x, y in zip(PROMPTS, ANSWERS, strict=True)], abs=1e-5
    )
    with model.reference():
        assert policy.log_probs().tolist() == pytest.approx(
            [by_hand(whole(), x, y) for x, y in zip(PROMPTS, ANSWERS, strict=True)], abs=1e-5
        )


@needs_lm
def test_the_next_token_is_distributed_as_the_whole_model_says(model: LanguageModel) -> None:
    found = moved(model).one_token(PROMPTS).log_probs()
    assert found.exp().sum(dim=1).tolist() == pytest.approx([1, 1, 1])
    for row, prompt in zip(found, PROMPTS, strict=True):
        expected = [by_hand(model.model, prompt, [token]) for token in range(20)]
        assert row.tolist() == pytest.approx(expected, abs=1e-5)


@needs_lm
def test_a_temperature_is_part_of_the_reference() -> None:
    cool = LanguageModel(whole(), Letters(), upper=1, rank=2, temperature=0.5)
    hot = LanguageModel(whole(), Letters(), upper=1, rank=2)
    with cool.reference(), hot.reference():
        found, warm = (m.one_token(PROMPTS).log_probs() for m in (cool, hot))
    assert torch.allclose(found, (2 * warm).log_softmax(-1), atol=1e-5)
    assert not torch.allclose(found, warm, atol=1e-2)


@needs_lm
def test_some_rows_are_some_of_all_rows(model: LanguageModel) -> None:
    policy = moved(model).answers(PROMPTS, ANSWERS)
    every, some = policy.token_log_probs(), torch.tensor([2, 0])
    assert torch.allclose(policy.token_log_probs(some), every[some], atol=1e-6)
    assert torch.equal(every != 0, policy.answer)


@needs_lm
def test_a_reset_ends_at_the_reference_and_a_seed_repeats_the_start(model: LanguageModel) -> None:
    policy = model.answers(PROMPTS, ANSWERS)
    before = policy.log_probs()
    after = moved(model) and policy.log_probs()
    assert not torch.allclose(before, after, atol=1e-2)
    model.reset(seed=3)
    first = [weight.clone() for weight in model.trained]
    assert torch.equal(policy.log_probs(), before)
    moved(model).reset(seed=3)
    assert all(map(torch.equal, first, model.trained))


def trained(model: LanguageModel, start: LanguageModel) -> list[float]:
    """The losses of ten steps of DPO on three pairs, beginning with another model's adapters."""
    chosen, rejected = model.answers(PROMPTS, ANSWERS), model.answers(PROMPTS, ANSWERS[::-1])
    with model.reference():
        ref = [policy.log_probs() for policy in (chosen, rejected)]
    with torch.no_grad():
        for weight, first in zip(model.trained, start.trained, strict=True):
            weight.copy_(first)
    adam, seen = torch.optim.AdamW(model.trained, lr=1e-2), []
    for _ in range(10):
        loss = dpo_loss(chosen.log_probs(), rejected.log_probs(), *ref, beta=0.5).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        seen.append(loss.item())
    return seen


@needs_lm
def test_training_goes_the_same_way_on_every_device(model: LanguageModel) -> None:
    start, other = (LanguageModel(whole(), Letters(), upper=2, rank=4) for _ in range(2))
    found = trained(model, start)
    assert found == pytest.approx(trained(other, start), abs=1e-3)
    assert found[0] == pytest.approx(math.log(2)) and found[-1] < 0.5


@needs_lm
def test_only_the_upper_blocks_learn(model: LanguageModel) -> None:
    model.answers(PROMPTS, ANSWERS).log_probs().sum().backward()
    names = [name for name, p in model.model.named_parameters() if p.requires_grad]
    assert names and all("lora" in name and ".layers.0." not in name for name in names)


@needs_lm
def test_the_divergence_by_tokens_is_that_of_whole_answers(model: LanguageModel) -> None:
    """Over every answer of at most two tokens, weighted by the reference."""
    policy = moved(model).answers([[3, 4]] * 381, [[1], *([a, b] for a in range(20) if a != 1
                                                        for b in range(20))])  # fmt: skip
    with model.reference():
        ref = policy.log_probs()
    new = policy.log_probs().detach()
    assert ref.exp().sum().item() == pytest.approx(1, abs=1e-5)
    expected = (ref.exp() * (ref - new)).sum().item()
    assert (ref.exp() * policy.token_kl()).sum().item() == pytest.approx(expected, abs=1e-5)
    assert expected > 0.01


@needs_lm
def test_answers_are_drawn_from_the_policy(model: LanguageModel) -> None:
    (drawn,) = moved(model).sample([[3, 4]], count=4000, longest=1, seed=0)
    shares = torch.bincount(torch.tensor([y[0] for y in drawn]), minlength=20) / 4000
    expected = model.one_token([[3, 4]]).log_probs()[0].exp().detach().cpu()
    error = (expected * (1 - expected) / 4000).sqrt()
    assert ((shares - expected).abs() <= 4.5 * error + 1e-3).all()
    with model.reference():
        before = model.one_token([[3, 4]]).log_probs()[0].exp().cpu()
    assert ((shares - before).abs() > 4.5 * error + 1e-3).any(), "not of the reference"


@needs_lm
def test_an_answer_ends_with_the_end_token_or_is_cut(model: LanguageModel) -> None:
    drawn = model.sample(PROMPTS, count=50, longest=3, seed=0)
    assert [len(answers) for answers in drawn] == [50, 50, 50]
    for answer in (y for answers in drawn for y in answers):
        assert 1 <= len(answer) <= 3
        assert answer.count(1) == (len(answer) < 3 or answer[-1] == 1)
    again = model.sample(PROMPTS, count=50, longest=3, seed=0)
    assert drawn == again and drawn != model.sample(PROMPTS, count=50, longest=3, seed=1)


@needs_lm
@pytest.mark.parametrize(("prompts", "answers"), [([], []), ([[]], [[1]]), ([[3]], [[1], [1]])])
def test_what_is_not_a_prompt_is_refused(
    prompts: list[list[int]], answers: list[list[int]], model: LanguageModel
) -> None:
    with pytest.raises(ValueError, match="prompts: expected prompts with a token"):
        model.answers(prompts, answers)


@needs_lm
@pytest.mark.parametrize("upper", [0, 4])
def test_there_are_only_so_many_blocks(upper: int) -> None:
    with pytest.raises(ValueError, match="upper: expected 1 to 3 blocks"):
        LanguageModel(whole(), Letters(), upper=upper)
