"""The stack on one machine: resources, routes, queues and handlers are those of template.yaml; no AWS, no Docker."""

from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
TEMPLATE: Final = REPOSITORY / "template.yaml"
HOME: Final = REPOSITORY / ".local"  # stack.json, logs, scratch space
BUNDLES: Final = REPOSITORY / "build" / "bundles"
