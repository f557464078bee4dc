"""Direct Preference Optimization, derived, verified and trained until it recovers the truth.

Import the module that holds the quantity, so that a name shows its home::

    from dpo_edu import gibbs
    gibbs.optimal_policy(reward, ref, beta=0.5)

X is the number of prompts, Y of responses, N of preference pairs. Rewards, policies and references
are arrays ``(..., Y)``; logarithms are natural.
"""

from typing import TYPE_CHECKING, Any

if not TYPE_CHECKING:  # which knows the modules by their files

    def __getattr__(name: str) -> Any:
        """A module of the package; where it needs what is not installed, the sentence on it."""
        import importlib

        try:
            return importlib.import_module(f"{__name__}.{name}")
        except ModuleNotFoundError as error:
            if error.name == f"{__name__}.{name}":
                raise AttributeError(f"{__name__} has no module {name}") from None
            raise ModuleNotFoundError(
                f"dpo_edu.{name} needs {error.name}: pip install 'dpo-edu[notebooks]'",
                name=error.name,
            ) from None
