"""Whether contributions drawn within a time budget are those of 2,000 orders, and what they cost.

Histories are walks over what goes together, so that they look like somebody's. Give a trained bundle's directory to measure
on it; without one, the network has its first weights.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks import report
from benchmarks.recommendations_handler import made_up_bundle
from personalization.bundles.bundle import load_bundle
from personalization.recommendations.blend import COOCCURRENCE
from personalization.recommendations.explain import ItemExplanations, explain_items
from personalization.recommendations.history import InteractionHistory, from_items
from personalization.recommendations.ranking import RankingOptions, rank_items
from personalization.recommendations.scenarios import personal
from personalization.recommendations.serving_catalog import ServingCatalog, serving_catalog

REFERENCE_PAIRS: Final = 1_000
LENGTHS: Final = (5, 20, 50)
BUDGETS: Final = (0.05, 0.25, 1.0)
USERS: Final = 5


def walk(catalog: ServingCatalog, length: int, seed: int) -> InteractionHistory:
    """Items one after the other, each of those that go with one before it, now and then any other."""
    random = np.random.default_rng(seed)
    matrix = catalog.recommender.matrices[COOCCURRENCE]
    items = [int(random.integers(len(catalog)))]
    while len(items) < length:
        start, end = matrix.indptr[items[-1]], matrix.indptr[items[-1] + 1]
        near = matrix.indices[start:end]
        items.append(int(random.choice(near) if len(near) and random.random() < 0.8 else random.integers(len(catalog))))
    return from_items([items], catalog.recommender.pace, length)


def agreement(found: ItemExplanations, reference: ItemExplanations) -> tuple[float, float, float]:
    """Mean correlation over the items of a list; the share of items with the same three largest contributions, and with
    three that the answer's own standard errors (two of them) do not tell from those of the reference."""
    pairs = list(zip(found.contributions, reference.contributions, strict=True))
    same = [set(_largest(a)) == set(_largest(b)) for a, b in pairs]
    alike = [
        same[row] or _undecided(found.contributions[row], found.standard_error[row], _largest(b))
        for row, (_, b) in enumerate(pairs)
    ]
    return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs])), float(np.mean(same)), float(np.mean(alike))


def _undecided(values: NDArray[np.float64], errors: NDArray[np.float64], wanted: list[int]) -> bool:
    """Whether each of the wanted that is missing from the top is as large as the least of the top, as far as errors tell."""
    top = _largest(values)
    least = top[-1]
    missing = [place for place in wanted if place not in top]
    return all(
        abs(values[least]) - abs(values[place]) <= 2 * float(np.hypot(errors[least], errors[place])) for place in missing
    )


def _largest(contributions: NDArray[np.float64]) -> list[int]:
    return np.argsort(-np.abs(contributions))[:3].tolist()


def main(directory: str | None = None, pairs: int = REFERENCE_PAIRS) -> None:
    with TemporaryDirectory() as name, threadpool_limits(1):
        catalog = serving_catalog(load_bundle(Path(directory)) if directory else made_up_bundle(Path(name)))
        rows: list[dict[str, Any]] = []
        for length in LENGTHS:
            users = []
            for seed in range(USERS):
                scores = personal(catalog, walk(catalog, length, seed))
                codes = rank_items(catalog, scores, RankingOptions(20)).codes
                users.append((scores, codes, explain_items(catalog, scores, codes, pairs=pairs, seed=1_000 + seed)))
            for budget in BUDGETS:
                start = time.perf_counter()
                found = [
                    explain_items(catalog, scores, codes, pairs=10_000, budget_seconds=budget) for scores, codes, _ in users
                ]
                spent = (time.perf_counter() - start) / len(users)
                agreed = [agreement(one, reference) for one, (_, _, reference) in zip(found, users, strict=True)]
                rows.append(
                    {
                        "history": length,
                        "allowed_ms": budget * 1e3,
                        "spent_ms": spent * 1e3,
                        "orders": float(np.mean([one.orders for one in found])),
                        "correlation": float(np.mean([each[0] for each in agreed])),
                        "least correlation": float(np.min([each[0] for each in agreed])),
                        "same top 3": float(np.mean([each[1] for each in agreed])),
                        "or within its errors": float(np.mean([each[2] for each in agreed])),
                    }
                )
    report.publish(
        "recommendations_explain",
        f"Contributions of a history to 20 items at once, against {2 * pairs:,} orders",
        rows,
        [f"model: {'a trained bundle' if directory else 'a network with its first weights'}; {USERS} users a row"],
    )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None, int(sys.argv[2]) if len(sys.argv) > 2 else REFERENCE_PAIRS)
