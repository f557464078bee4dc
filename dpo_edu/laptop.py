"""Whether this computer is ready for the assignments, in some seconds and without a network.

Say ``python -m dpo_edu.laptop``: a line for each thing that is needed, and one that says what to
do. Nothing is opened, written or installed.
"""

import importlib
import sys
from collections.abc import Iterator, Sequence

NEEDED = {  # to import, and what to install
    "numpy": "numpy",
    "scipy": "scipy",
    "sympy": "sympy",
    "matplotlib": "matplotlib",
    "IPython": "ipython",
    "ipykernel": "ipykernel",
    "jupyterlab": "jupyterlab",
}
OLDEST = (3, 11)
WITH_TORCH = range(4, 7)  # the assignments that need PyTorch
INSTALL = 'python -m pip install -c constraints.txt -e ".[student]"'
INSTALL_TORCH = "python -m pip install -c constraints.txt torch"


def version(name: str) -> str | None:
    """The version of a module that can be imported; None where it cannot.

    >>> version("no_such_module") is None
    True
    """
    try:
        module = importlib.import_module(name)
    except Exception:  # a library that is torn raises what it likes
        return None
    return str(getattr(module, "__version__", "there"))


def missing() -> Iterator[str]:
    """Names of modules that the assignments need and that are not here, each said in a line.

    >>> all(name in NEEDED for name in missing())
    Python...
    True
    """
    here = sys.version_info
    good = here[:2] >= OLDEST
    print(f"Python      {here[0]}.{here[1]}.{here[2]}" + ("" if good else "  too old"))
    if not good:
        yield "python"
    for name in NEEDED:
        found = version(name)
        print(f"{name:11} {found or 'missing'}")
        if found is None:
            yield name


def main(arguments: Sequence[str] | None = None) -> int:
    """Say what is here; 0 if that is enough to begin, else 1.

    >>> main() in (0, 1)
    Python...
    True
    """
    lacking = list(missing())
    torch = version("torch")
    some = f"{WITH_TORCH[0]} to {WITH_TORCH[-1]}"
    print(f"torch       {torch or f'missing; for assignments {some}: {INSTALL_TORCH}'}")
    if "python" in lacking:
        wanted = ".".join(map(str, OLDEST))
        print(f"Not ready: install Python {wanted} or newer, and begin again with it.")
    elif lacking:
        print(f"Not ready. In the folder dpo-edu: {INSTALL}")
    else:
        print(f"Ready for all assignments{'' if torch else f' but {some}'}.")
    return int(bool(lacking))


if __name__ == "__main__":
    sys.exit(main())
