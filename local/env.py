"""`python -m local env`: environment variables with which `sam local` runs a function on the running stack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def variables(stack: Mapping[str, Any], function: str) -> dict[str, dict[str, str]]:
    """``{logical id: {variable: value}}`` with physical names, where `sam local` itself would pass logical ones.

    With a bridge, the addresses are those for containers.

    Raises `KeyError` with a message for a function that the template does not have.
    """
    functions = stack["functions"]
    if function not in functions:
        raise KeyError(f"the template has no function {function!r}; it has {', '.join(functions)}")
    reached = stack["bridge_endpoint"] or stack["endpoint"]
    values = functions[function]["environment"]
    return {function: {name: str(value).replace(stack["endpoint"], reached) for name, value in values.items()}}
