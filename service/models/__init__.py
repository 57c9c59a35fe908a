"""What is served: every bundle of a folder, each behind its batcher."""
