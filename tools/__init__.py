"""What sets up, runs and checks the notebooks; nothing here is needed to use ``dpo_edu``."""
