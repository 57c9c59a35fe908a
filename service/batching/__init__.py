"""Single items to batches, in fair order."""
