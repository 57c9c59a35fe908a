"""What a model learns by: each loss on its own, and the objective that they make."""
