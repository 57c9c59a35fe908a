#!/bin/sh
# sqlite-vec 0.1.9: by distance_metric=cosine, a vector of zeros has no distance (NaN, told as NULL), and no rule says where it stands among
# the nearest: a vec0 table whose first row is zeros answers every query with that row first, before an equal vector at distance 0, and with
# k=1 with nothing else. The same rows with the zeros last are found as one expects. So one blank embedding hides the best match.
#
# Seen, for a query equal to the vector "same", k=2: zeros first: zeros (None), same (0.0); zeros last: same (0.0), near (0.0061)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
# apsw brings an SQLite that loads extensions, which Python's own often can't.
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check sqlite-vec==0.1.9 apsw==3.54.1.0
"$folder/venv/bin/python" - <<'PYTHON'
import apsw
import sqlite_vec

VECTORS = {"same": "[1, 0, 0, 0]", "near": "[0.9, 0.1, 0, 0]", "far": "[0, 1, 0, 0]"}
ZEROS = {"zeros": "[0, 0, 0, 0]"}


def nearest(rows: dict[str, str], k: int) -> list[tuple[str, float | None]]:
    database = apsw.Connection(":memory:")
    database.enable_load_extension(True)
    database.load_extension(sqlite_vec.loadable_path())
    database.execute("create virtual table pictures using vec0(name text primary key, vector float[4] distance_metric=cosine)")
    for row in rows.items():
        database.execute("insert into pictures values (?, ?)", row)
    asked = "select name, distance from pictures where vector match ? and k = ? order by distance"
    return database.execute(asked, (VECTORS["same"], k)).fetchall()


first, last = nearest(ZEROS | VECTORS, 2), nearest(VECTORS | ZEROS, 2)
print("zeros first:", first, "k=1:", nearest(ZEROS | VECTORS, 1))
print("zeros last: ", last, "k=1:", nearest(VECTORS | ZEROS, 1))
assert [name for name, _ in last] == ["same", "near"]
assert first[0] == ("zeros", None) and nearest(ZEROS | VECTORS, 1) == [("zeros", None)], "it is otherwise now"
PYTHON
echo "seen: sqlite-vec 0.1.9 lets a vector of zeros stand before the nearest one"
