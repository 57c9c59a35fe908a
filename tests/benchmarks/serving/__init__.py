"""The service beside other servers and a bare loop, with one encoder: see docs/inside/performance.md."""
