"""STELLAR in PyTorch."""
