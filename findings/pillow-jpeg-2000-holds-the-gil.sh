#!/bin/sh
# Pillow 13.0.0: while load() decodes a JPEG 2000, no other Python thread runs: it holds the interpreter's lock from the first byte to
# the last, unlike the decoders of JPEG, PNG, TIFF, GIF, WebP and AVIF, which let it go. A server that decodes on threads stands
# still, for seconds with a large scan. What helps is `image.reduce = n` before load(): n resolutions fewer are decoded, and each
# takes a quarter of the time, as draft() does for JPEG (which has no effect on JPEG 2000).
#
# Seen for 2,000 × 2,000 pixels, as longest time between two turns of a thread that sleeps 1 ms: JPEG 2 ms of 33, PNG 4 ms of 130,
# WebP 19 ms of 114, AVIF 10 ms of 45, JPEG2000 841 ms of 850, with reduce = 3 40 ms of 39
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0
"$folder/venv/bin/python" - <<'PYTHON'
import io
import threading
import time

from PIL import Image

picture = Image.effect_noise((250, 250), 60).resize((2000, 2000)).convert("RGB")


def longest_pause(kind, halvings=0):
    """Share of load()'s time for which a second thread had no turn."""
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    turns, over = [], threading.Event()

    def take_turns():
        while not over.is_set():
            turns.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=take_turns)
    image = Image.open(buffer)
    if halvings:
        image.reduce = halvings
    thread.start()
    time.sleep(0.1)
    started = time.perf_counter()
    image.load()
    ended = time.perf_counter()
    time.sleep(0.05)
    over.set()
    thread.join()
    within = [turn for turn in turns if started - 0.05 <= turn <= ended + 0.05]
    pause = max(after - before for before, after in zip(within, within[1:]))
    print(f"{kind}, {halvings} halvings: load() took {1000 * (ended - started):.0f} ms, longest pause {1000 * pause:.0f} ms")
    return pause, ended - started


for kind in ("JPEG", "PNG", "WEBP", "AVIF"):
    longest_pause(kind)
pause, whole = longest_pause("JPEG2000")
assert pause > 0.9 * whole, "it is otherwise now"
_, less = longest_pause("JPEG2000", 3)
assert less < whole / 4
PYTHON
echo "seen: Pillow 13.0.0 holds the interpreter's lock while it decodes JPEG 2000"
