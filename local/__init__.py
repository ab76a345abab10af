"""The whole stack on one machine: template.yaml's own resources, routes, queues and handlers, without AWS or Docker."""

from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
TEMPLATE: Final = REPOSITORY / "template.yaml"
HOME: Final = REPOSITORY / ".local"  # stack.json, logs, scratch space
BUNDLES: Final = REPOSITORY / "build" / "bundles"
