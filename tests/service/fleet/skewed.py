"""`stellar-service` on a host whose clock is wrong, by so many seconds: `… skewed SECONDS worker`."""

from __future__ import annotations

import sys
import time

if __name__ == "__main__":
    seconds = float(sys.argv.pop(1))
    true_time = time.time
    time.time = lambda: true_time() + seconds
    from service.cli import app

    app()
