"""A run: steps, processes, state, and what it tells."""
