"""Whole experiments by a command each: the paper's claim in small, and the bundled model."""
