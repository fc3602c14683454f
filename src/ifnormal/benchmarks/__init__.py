"""The paper's evaluation: setups as cards, experiments, the sweep runner and its tables."""
