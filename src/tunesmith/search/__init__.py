"""A longer search over a model's recipes: Optuna proposes, the step graph remembers."""
