"""Batching across the processes of one host: an engine that they share, reached over a Unix socket."""
