"""What every training shares: a policy that answers, its device, its record, its progress bar."""

import os

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from tqdm.auto import tqdm

from dpo_edu import _checks, distributions
from dpo_edu._checks import Floats

PROGRESS_DELAY = 2.0


def to_numpy(tensor: Tensor) -> Floats:
    """A tensor as a float64 array."""
    return tensor.detach().cpu().numpy().astype(np.float64)


def log_probs_of(name: str, policy: nn.Module) -> Tensor:
    """A policy's ``(X, Y)`` log-probs, or an error if it is not a policy."""
    method = getattr(policy, "log_probs", None)
    if not (isinstance(policy, nn.Module) and callable(method)):
        raise _checks.error(name, "a module with log_probs()", type(policy).__name__)
    result: Tensor = method()
    if result.ndim != 2 or result.isnan().any():
        got = f"shape {tuple(result.shape)}" if result.ndim != 2 else "nan"
        raise _checks.error(name, "log_probs() of shape (X, Y) without nan", got)
    return result


def shaped(name: str, value: Floats, shape: tuple[int, ...]) -> Floats:
    """An array ``(Y,)`` or ``(X, Y)`` as ``(X, Y)``, or an error if that is not the policy's."""
    value = np.atleast_2d(value)
    if value.shape != shape:
        raise _checks.error(name, f"shape {shape} to fit policy", f"shape {value.shape}")
    return value


def at_start(policy: nn.Module, ref: ArrayLike | nn.Module) -> tuple[Floats, Floats]:
    """log pi at the start and log pi_ref, ``(X, Y)`` each, computed once."""
    with torch.no_grad():
        start = to_numpy(log_probs_of("policy", policy))
        if isinstance(ref, nn.Module):
            log_ref = to_numpy(log_probs_of("ref", ref))
        else:
            log_ref = distributions.log_of(_checks.policy("ref", ref))
    return start, shaped("ref", log_ref, start.shape)


def choose(name: str | torch.device) -> torch.device:
    """The device asked for; "auto" is DPO_EDU_DEVICE if set, else CUDA if present, or the CPU."""
    source = "device"
    if name == "auto":
        source, name = "DPO_EDU_DEVICE", os.environ.get("DPO_EDU_DEVICE") or "auto"
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = torch.device("meta")
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.mps.is_available())}
    if (device.index or 0) >= counts.get(device.type, 0):
        here = ", ".join(repr(kind) for kind, count in counts.items() if count)
        raise _checks.error(source, f"'auto' or a device of this machine ({here})", repr(str(name)))
    return device


def move(policy: nn.Module, device: str | torch.device) -> Tensor:
    """Put a policy on the device asked for, in place; its log-probs there, without a gradient.

    In float32 on MPS, which knows no float64.
    """
    place = choose(device)
    policy.to(place, torch.float32 if place.type == "mps" else None)
    return log_probs_of("policy", policy).detach()


def bar(steps: int, progress: bool) -> "tqdm[int]":
    """Steps, with a bar if asked for and if they last more than two seconds.

    In a notebook the bar is a widget, elsewhere a line on stderr; TQDM_DISABLE=1 does without.
    """
    form = "{l_bar}{bar}| {n_fmt}/{total_fmt}"
    hidden = not progress or os.environ.get("TQDM_DISABLE") == "1"
    return tqdm(range(steps), disable=hidden, delay=PROGRESS_DELAY, bar_format=form)


class Record:
    """What was seen of a policy: a value each time, and KL(pi* || pi_theta) if pi* is given."""

    def __init__(self, optimum: ArrayLike | None, shape: tuple[int, ...]) -> None:
        self.optimum: Floats | None = None
        self.values: list[float] = []
        self.kls: list[float] = []
        if optimum is not None:
            p = shaped("optimum", _checks.policy("optimum", optimum), shape)
            self.optimum = p / p.sum(axis=-1, keepdims=True)

    def note(self, value: Tensor, log_probs: Tensor) -> None:
        """Note the value, and the divergence averaged over prompts."""
        self.values.append(value.item())
        if self.optimum is not None:
            log_p, log_q = distributions.log_of(self.optimum), to_numpy(log_probs)
            terms = distributions.divergence_terms(self.optimum, log_p, log_q)
            self.kls.append(float(terms.sum(axis=-1).mean()))

    def curves(self) -> tuple[Floats, Floats | None]:
        """The values, and the divergences or None."""
        return np.array(self.values), None if self.optimum is None else np.array(self.kls)
