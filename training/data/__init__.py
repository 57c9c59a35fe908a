"""Where pictures come from, and what a step sees of them."""
