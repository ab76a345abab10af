"""Explanations of a profile within a time budget: agreement with 2,000 permutations, and cost.

The explained rows are from the bundle's own background, from the least to the most likely to buy; each is explained against the
others. The argument is the directory of a trained bundle, by default the demo's.
"""

from __future__ import annotations

import sys
import time
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks import report, shop
from personalization.bundles.bundle import Bundle, load_bundle
from personalization.tabular.explain import headline_probability
from personalization.tabular.shapley import ShapleyValues, shapley_values

REFERENCE_PERMUTATIONS: Final = 2_000
USERS: Final = 6
SEEDS: Final = 4
BUDGETS: Final = (0.001, 0.05, 0.25, 1.0)  # the first has room for one round and no more
TOP: Final = 3


def top_columns(explanation: ShapleyValues) -> frozenset[int]:
    """The columns with the largest contributions."""
    return frozenset(np.argsort(-np.abs(explanation.contributions), kind="stable")[:TOP].tolist())


def split_row(background: dict[str, NDArray[Any]], index: int) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """One row, and all others, by input name."""
    row = {name: values[index : index + 1] for name, values in background.items()}
    return row, {name: np.delete(values, index, axis=0) for name, values in background.items()}


def measure(bundle: Bundle) -> list[dict[str, Any]]:
    """One row of the table for each budget."""
    background = dict(bundle.background or {})
    size = len(next(iter(background.values())))
    probability = headline_probability(bundle)[1]
    cases = [split_row(background, int(index)) for index in np.linspace(0, size - 1, USERS).round()]
    rounds = -(-REFERENCE_PERMUTATIONS // (size - 1))
    references = [
        shapley_values(bundle, row, others, probability, rounds=rounds, seed=1_000 + n) for n, (row, others) in enumerate(cases)
    ]
    rows = []
    for budget in BUDGETS:
        correlation, same_as_reference, same_among_seeds, times, cost, error = [], [], [], [], [], []
        for (row, others), reference in zip(cases, references, strict=True):
            by_seed = []
            for seed in range(SEEDS):
                start = time.perf_counter()
                by_seed.append(shapley_values(bundle, row, others, probability, seed=seed, rounds=1_000, budget_seconds=budget))
                times.append((time.perf_counter() - start) * 1e3)
            correlation += [float(np.corrcoef(one.contributions, reference.contributions)[0, 1]) for one in by_seed]
            same_as_reference += [top_columns(one) == top_columns(reference) for one in by_seed]
            same_among_seeds += [top_columns(a) == top_columns(b) for a, b in combinations(by_seed, 2)]
            cost += [one.rows for one in by_seed]
            error += [abs(one.contributions.sum() - (one.logit - one.base)) for one in by_seed]
        rows.append(
            {
                "allowed_ms": budget * 1e3,
                "spent_ms": float(np.mean(times)),
                "rows": float(np.mean(cost)),
                "correlation": float(np.mean(correlation)),
                "least correlation": min(correlation),
                f"same top {TOP} as reference": float(np.mean(same_as_reference)),
                f"same top {TOP} of two seeds": float(np.mean(same_among_seeds)),
                "sum off by": max(error),
            }
        )
    return rows


def main(directory: str | None = None) -> None:
    bundle = load_bundle(Path(directory)) if directory else shop.demo_bundle("profiles")
    if not bundle.background:
        raise SystemExit("expected a bundle with background.npz, received one without it")
    with threadpool_limits(1):
        rows = measure(bundle)
    report.publish(
        "profiles_explain",
        f"Explanations of a profile's probability within a budget, against {REFERENCE_PERMUTATIONS:,} permutations",
        rows,
        [
            f"{len(bundle.encoder.columns)} columns; {USERS} users, {SEEDS} seeds each; one core",
            "permutations run in whole rounds, one for each background row; the first round always runs",
        ],
    )


if __name__ == "__main__":
    main(*sys.argv[1:2])
