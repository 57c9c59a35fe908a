#!/bin/sh
# torch 2.13.0: to make any optimizer, even SGD of one parameter, imports the compiler's front end (torch._dynamo) and sympy: add_param_group is
# kept out of graphs by a wrapper that imports it when first called. Nothing is compiled. Every process that trains pays for it, one that only
# infers does not.
#
# Seen: after the import neither torch._dynamo nor sympy; after SGD both, and 823 modules more, of 1114 before
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'EOF'
import sys

import torch

COMPILER = ("torch._dynamo", "sympy")
weight = torch.nn.Parameter(torch.zeros(1))
before = set(sys.modules)
print("after the import:", {name: name in before for name in COMPILER})
torch.optim.SGD([weight], lr=0.1)
more = set(sys.modules) - before
print("after SGD:", {name: name in sys.modules for name in COMPILER}, f"and {len(more)} modules more, of {len(before)} before")
assert not before & set(COMPILER)
assert set(COMPILER) <= more
assert len(more) > 700
print("seen: an optimizer loads the compiler")
EOF
