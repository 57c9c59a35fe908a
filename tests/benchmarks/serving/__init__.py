"""The service beside other servers and a bare loop, on one machine with one encoder: see docs/performance.md."""
