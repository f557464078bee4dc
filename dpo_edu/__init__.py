"""Direct Preference Optimization, derived, verified and trained until it recovers the truth.

Import the module that holds the quantity, so that a name shows its home::

    from dpo_edu import gibbs
    gibbs.optimal_policy(reward, ref, beta=0.5)

X is the number of prompts, Y of responses, N of preference pairs. Rewards, policies and references
are arrays ``(..., Y)``; logarithms are natural.
"""
