#!/bin/sh
# jaxtyping 0.3.11: whatever a checked module imports while it runs is cached under the name of checked modules, though it is
# not checked itself. Asked later to check such a module, too, the import hook finds that file and takes it: nothing is checked,
# without a word, until the source changes or the caches are deleted. (And each package that a checked module imports is compiled
# and cached a second time.)
#
# The hook patches importlib's cache_from_source while the checked module is executed, and with it all imports in it.
#
# Seen: first run, outer is checked: inner is not (as asked)
#       second run, outer and inner are to be checked: inner is not
#       the same without the caches of the first run: inner is checked
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check jaxtyping==0.3.11 beartype==0.23.1 numpy==2.4.1
mkdir "$folder/code"
cat >"$folder/code/outer.py" <<'PYTHON'
import inner

double = inner.double
PYTHON
cat >"$folder/code/inner.py" <<'PYTHON'
def double(number: int) -> int:
    return 2 * number
PYTHON
cat >"$folder/code/run.py" <<'PYTHON'
import sys

from jaxtyping import install_import_hook

with install_import_hook(sys.argv[1:], "beartype.beartype"):
    import outer
try:
    outer.double("ab")
    print("inner is not checked")
except Exception as error:
    print("inner is checked:", type(error).__name__)
PYTHON
run() { (cd "$folder/code" && PYTHONDONTWRITEBYTECODE= "$folder/venv/bin/python" run.py "$@"); }
first=$(run outer)
second=$(run outer inner)
rm -r "$folder/code/__pycache__"
fresh=$(run outer inner)
printf 'first: %s\nsecond: %s\nwithout caches: %s\n' "$first" "$second" "$fresh"
test "$first" = "inner is not checked"
test "$second" = "inner is not checked"
case "$fresh" in "inner is checked:"*) ;; *) exit 1 ;; esac
echo "seen: jaxtyping 0.3.11 does not check a module that was imported by a checked one before"
