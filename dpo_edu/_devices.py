"""Where torch computes: the `device` argument and the variable that replaces its "auto"."""

import os

import torch
from torch import nn

from dpo_edu import _checks


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


def move(policy: nn.Module, device: torch.device) -> None:
    """Put a policy on a device, in place; in float32 on MPS, which knows no float64."""
    policy.to(device, torch.float32 if device.type == "mps" else None)
