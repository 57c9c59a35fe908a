#!/bin/sh
# onnxruntime 1.32.0, the wheel for Linux: the import of the package makes an id of the device and a database of events in the home folder, under
# .cache/Microsoft/DeveloperTools/.onnxruntime, and every process adds to it: system, interpreter's path, network. It has a thread to send them.
# Its own disable_telemetry_events(), called right after the import, comes too late for both files; the variable ORT_DISABLE_TELEMETRY=1 does not.
#
# Seen: deviceid and onnxruntime.db by the import alone, and with disable_telemetry_events(); nothing with the variable
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
files() { # what a program leaves in a fresh home, with a variable or none
  mkdir home
  env HOME="$folder/home" http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 ${2-} venv/bin/python -c "$1"
  find home -name deviceid -o -name '*.db' | sort | sed 's,.*/,,' | tr '\n' ' '
  rm -r home
}
import='import onnxruntime'
call='import onnxruntime; onnxruntime.disable_telemetry_events()'
echo "import: $(files "$import")"
echo "and disable_telemetry_events(): $(files "$call")"
echo "with the variable: $(files "$import" ORT_DISABLE_TELEMETRY=1)"
test "$(files "$import")" = "deviceid onnxruntime.db "
test "$(files "$call")" = "deviceid onnxruntime.db "
test -z "$(files "$import" ORT_DISABLE_TELEMETRY=1)"
echo "seen: onnxruntime writes down its use, and only the variable prevents it"
