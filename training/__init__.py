"""STELLAR training."""
