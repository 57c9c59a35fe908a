"""A bundle on a device: what it must be, and what runs it."""

import os

# Before anything imports ONNX Runtime, which otherwise reports its use to Microsoft from a thread of its own.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
