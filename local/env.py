"""python -m local env: the variables with which `sam local` runs a function on the running stack's resources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def variables(stack: Mapping[str, Any], function: str) -> dict[str, dict[str, str]]:
    """``{logical id: {variable: value}}``: sam local would pass a resource's logical name where its physical one belongs.

    Addresses of the stack are those that a container reaches, where the stack is served with a bridge.

    Raises `KeyError` with a message for a function that the template does not have.
    """
    functions = stack["functions"]
    if function not in functions:
        raise KeyError(f"the template has no function {function!r}; it has {', '.join(functions)}")
    reached = stack["bridge_endpoint"] or stack["endpoint"]
    values = functions[function]["environment"]
    return {function: {name: str(value).replace(stack["endpoint"], reached) for name, value in values.items()}}
