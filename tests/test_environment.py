"""pyproject.toml, constraints.txt, environment.yml and what is installed say the same."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
PINS = [Requirement(line) for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()]
DIRECT = [
    requirement
    for text in PROJECT["dependencies"] + [r for extra in EXTRAS.values() for r in extra]
    if (requirement := Requirement(text)).name != "dpo-edu"
]
BUILDS_OF_TORCH = re.compile(r"nvidia|cuda|triton")


def pinned(name: str) -> list[Requirement]:
    return [pin for pin in PINS if canonicalize_name(pin.name) == canonicalize_name(name)]


def in_force(name: str) -> str:
    """The version pinned for this Python and system."""
    (pin,) = [pin for pin in pinned(name) if pin.marker is None or pin.marker.evaluate()]
    (specifier,) = pin.specifier
    return specifier.version


def closure(name: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """Everything that an installed distribution requires here, directly or not."""
    found, waiting = set(), [(name, extras)]
    while waiting:
        current = waiting.pop()
        if current in found:
            continue
        found.add(current)
        for text in metadata.requires(current[0]) or ():
            required = Requirement(text)
            environments = [{"extra": extra} for extra in current[1] or {""}]
            if required.marker is None or any(map(required.marker.evaluate, environments)):
                waiting.append((canonicalize_name(required.name), frozenset(required.extras)))
    names = {canonicalize_name(name) for name, _ in found} - {"dpo-edu"}
    return {name for name in names if not BUILDS_OF_TORCH.search(name)}


INSTALLED = sorted(closure("dpo-edu", frozenset({"dev"})))


@pytest.mark.parametrize("pin", PINS, ids=str)
def test_a_pin_is_exact_and_of_no_particular_build(pin: Requirement) -> None:
    (specifier,) = pin.specifier
    assert specifier.operator == "=="
    assert Version(specifier.version).local is None
    assert not BUILDS_OF_TORCH.search(pin.name)


@pytest.mark.parametrize("requirement", DIRECT, ids=str)
def test_a_direct_dependency_is_pinned_within_its_range(requirement: Requirement) -> None:
    assert pinned(requirement.name)
    for pin in pinned(requirement.name):
        (specifier,) = pin.specifier
        assert requirement.specifier.contains(specifier.version)


@pytest.mark.parametrize("name", INSTALLED)
def test_what_is_installed_is_what_is_pinned(name: str) -> None:
    assert Version(metadata.version(name)).public == in_force(name)


def test_the_closure_reaches_what_nobody_names() -> None:
    assert {"torch", "pytest", "choix", "pyzmq", "mpmath"} <= set(INSTALLED)


def test_conda_users_get_the_same_by_pip() -> None:
    text = (ROOT / "environment.yml").read_text("utf-8")
    wanted = re.findall(r"^ +- (.+?):?$", text, flags=re.MULTILINE)
    python = f"python{PROJECT['requires-python']}"
    assert wanted == ["conda-forge", python, "pip", "pip", "-c constraints.txt", "-e .[dev]"]
