"""Reads objects by KServe's own models, tells what these do not know; runs in an environment of its own."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import kserve
import yaml
from kubernetes import client as kubernetes

KINDS = {"ServingRuntime": "V1alpha1ServingRuntime", "InferenceService": "V1beta1InferenceService"}
OF_MANY = re.compile(r"(?:list\[|dict\(str, )(.+)[\])]")


def read(value: Any, kind: str, path: str) -> Any:
    """A value as a type's object. Raises `ValueError` for what it lacks; prints what it does not know."""
    if many := OF_MANY.fullmatch(kind):
        if kind.startswith("list"):
            return [read(part, many[1], f"{path}.{i}") for i, part in enumerate(value)]
        return {name: read(part, many[1], f"{path}.{name}") for name, part in value.items()}
    model = getattr(kserve, kind, None) or getattr(kubernetes, kind, None)
    if model is None:
        if kind in ("str", "int", "bool") and type(value).__name__ != kind:
            print(f"{path}: expected {kind}, got {value!r}")
        return value
    fields = {its: name for name, its in model.attribute_map.items()}
    for name in set(value) - set(fields):
        print(f"{path}.{name}: {kind} has no such field")
    known = [(its, fields[its]) for its in value if its in fields]
    types = model.openapi_types
    return model(**{name: read(value[its], types[name], f"{path}.{its}") for its, name in known})


if __name__ == "__main__":
    for file in sys.argv[1:]:
        document = yaml.safe_load(Path(file).read_text())
        read(document, KINDS[document["kind"]], document["kind"])
