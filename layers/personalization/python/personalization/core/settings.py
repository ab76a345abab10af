"""Settings of a function, read from its environment once, at init."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. A missing variable fails at init with its name.

    models_bucket      S3 bucket with ``models/<name>/…``
    data_bucket        S3 bucket with ``inbox/``, ``results/`` and ``catalogue/``
    state_table        DynamoDB table of user state and budgets
    pointer_ttl        seconds for which a model pointer is used without asking S3 again
    state_ttl_days     days after the last write after which a user's state expires
    results_days       days after which inbox files and results expire (for erasure receipts)
    max_reject_share   share of rejected rows above which a batch job fails
    cache_dir          local directory for downloaded bundles
    """

    models_bucket: str
    data_bucket: str
    state_table: str
    pointer_ttl: float = 60.0
    state_ttl_days: int = 395
    results_days: int = 30
    max_reject_share: float = 0.2
    cache_dir: str = "/tmp/models"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the variables that template.yaml declares. Raises `KeyError` with the name of a missing one."""

        def required(name: str) -> str:
            value = environ.get(name, "")
            if not value:
                raise KeyError(f"environment variable {name} is not set; template.yaml declares it for every function")
            return value

        return cls(
            models_bucket=required("MODELS_BUCKET"),
            data_bucket=required("DATA_BUCKET"),
            state_table=required("STATE_TABLE"),
            pointer_ttl=float(environ.get("POINTER_TTL_SECONDS") or 60),
            state_ttl_days=int(environ.get("STATE_TTL_DAYS") or 395),
            results_days=int(environ.get("RESULTS_DAYS") or 30),
            max_reject_share=float(environ.get("MAX_REJECT_SHARE") or 0.2),
            cache_dir=environ.get("MODEL_CACHE_DIR") or "/tmp/models",
        )
