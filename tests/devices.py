"""The devices on which what learns is tried: the CPU, and CUDA where there is any."""

import pytest

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
