"""The best 20 of a million items on one core: ours, faiss, usearch; and what a selective filter does to each.

Vectors are made like trained ones: clustered, with a spectrum that decays, and in a third kind saturated (a few large axes).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import percentile, publish, repeat
from personalization.recommendations.retrieval import Index, make_index, top_k
from personalization.recommendations.scoring import RESCORED
from training.tasks.recommendations.coarse import write_coarse

K: Final = 20
KINDS: Final = ("clustered", "decaying", "saturated")
_VECTORS: Final = "item_vectors.npy"
_QUERIES: Final = "queries.npy"
_BLOCK: Final = 100_000
_FILTERED_SHARE: Final = 0.01
_OVERFETCH: Final = 10 * K


def vectors_like(kind: str, items: int, size: int, seed: int) -> NDArray[np.float32]:
    """Items in clusters whose sizes follow a power law, their axes weighted by a spectrum."""
    random = np.random.default_rng(seed)
    axis = np.arange(1, size + 1, dtype=np.float32)
    spectrum = {"clustered": np.ones(size), "decaying": axis**-0.7, "saturated": np.where(axis <= 4, 6.0, 0.3)}[kind]
    clusters = 1_000
    centres = random.normal(size=(clusters, size)).astype(np.float32)
    chance = np.arange(1, clusters + 1) ** -0.8
    out = np.empty((items, size), np.float32)
    for start in range(0, items, _BLOCK):
        rows = min(_BLOCK, items - start)
        near = centres[random.choice(clusters, rows, p=chance / chance.sum())]
        block = near + 0.6 * random.standard_normal((rows, size), dtype=np.float32)
        length = np.exp(0.3 * random.standard_normal((rows, 1), dtype=np.float32))
        out[start : start + rows] = np.tanh(block * length) * spectrum if kind == "saturated" else block * length * spectrum
    return out


def queries_like(vectors: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32]:
    """User vectors: means of a few items and some noise."""
    random = np.random.default_rng(seed)
    some = vectors[random.integers(0, len(vectors), (count, 5))].mean(axis=1)
    return (some + 0.2 * some.std() * random.standard_normal(some.shape, dtype=np.float32)).astype(np.float32)


def best_exact(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], mask: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """(Q, K) by fp32 products, block by block."""
    codes = np.zeros((len(queries), 0), np.int64)
    values = np.zeros((len(queries), 0), np.float32)
    for start in range(0, len(vectors), _BLOCK):
        found = queries @ vectors[start : start + _BLOCK].T
        if mask is not None:
            found[:, ~mask[start : start + _BLOCK]] = -np.inf
        near = np.argpartition(-found, K, axis=1)[:, :K]
        values = np.concatenate([values, np.take_along_axis(found, near, axis=1)], axis=1)
        codes = np.concatenate([codes, near + start], axis=1)
        keep = np.argsort(-values, axis=1)[:, :K]
        values, codes = np.take_along_axis(values, keep, axis=1), np.take_along_axis(codes, keep, axis=1)
    return codes


def ours(index: Index, mask: NDArray[np.bool_] | None = None) -> Callable[[NDArray[np.float32]], NDArray[np.int64]]:
    def search(query: NDArray[np.float32]) -> NDArray[np.int64]:
        near = np.sort(top_k(index.products(query[None, :])[0], RESCORED, mask))
        exact = np.einsum("nd,d->n", index.vectors(near), query)
        return near[np.argsort(-exact, kind="stable")[:K]]

    return search


def recalls(found: list[NDArray[np.int64]], expected: NDArray[np.int64]) -> tuple[float, float]:
    shares = [len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, expected, strict=True)]
    return float(np.mean(shares)), float(np.min(shares))


def measured(
    name: str, kind: str, search: Callable[[NDArray[np.float32]], Any], queries: NDArray[np.float32], expected: Any, **more: Any
) -> dict[str, Any]:
    mean, least = recalls([np.asarray(search(query)).ravel() for query in queries], expected[: len(queries)])
    turn = iter(range(10**9))
    times = repeat(lambda: search(queries[next(turn) % len(queries)]), seconds=3.0, warmup=3, at_least=30)
    return {
        "vectors": kind, "method": name, "p50_ms": percentile(times, 0.5), "p99_ms": percentile(times, 0.99),
        "recall_at_20": mean, "least_recall": least, "queries": len(queries), **more,
    }  # fmt: skip


def loaded(directory: Path) -> dict[str, float]:
    """Seconds and megabytes that loading and 100 queries cost a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.recommendations_retrieval", "--load", str(directory)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    seconds, first, megabytes = map(float, done.stdout.split())
    return {"load_s": seconds, "first_ms": first, "added_mb": megabytes}


def _load(directory: Path) -> None:
    before = _resident()
    start = time.perf_counter()
    index = make_index(np.load(directory / _VECTORS, mmap_mode="r"), np.zeros((0, 128), np.float32), directory)
    seconds = time.perf_counter() - start
    search, queries = ours(index), np.load(directory / _QUERIES)
    start = time.perf_counter()
    search(queries[0])
    first = (time.perf_counter() - start) * 1e3
    for query in queries:
        search(query)
    print(seconds, first, _resident() - before)


def _resident() -> float:
    """Megabytes of this process in memory now, mapped files included. (Its peak would count the process that began it.)"""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main(items: int = 1_000_000, size: int = 128, queries: int = 1_000, graph_items: int = 200_000) -> None:
    import faiss

    faiss.omp_set_num_threads(1)
    rows = []
    for kind in KINDS:
        vectors = vectors_like(kind, items, size, 0)
        asked = queries_like(vectors, queries, 1)
        expected = best_exact(vectors, asked)
        with TemporaryDirectory() as name:
            directory = Path(name)
            np.save(directory / _VECTORS, vectors)
            np.save(directory / _QUERIES, asked[:100])
            write_coarse(directory, vectors)
            cost = loaded(directory)
            index = make_index(np.load(directory / _VECTORS, mmap_mode="r"), np.zeros((0, size), np.float32), directory)
            rows.append(measured("ours", kind, ours(index), asked, expected, items=items, **cost))
            mask = np.random.default_rng(3).random(items) < _FILTERED_SHARE
            few = asked[:200]
            filtered = best_exact(vectors, few, mask)
            rows.append(measured("ours, filter of 1 %", kind, ours(index, mask), few, filtered, items=items))
            flat = faiss.IndexFlatIP(size)
            flat.add(vectors)
            found = lambda query, flat=flat: flat.search(query[None, :], K)[1]  # noqa: E731
            rows.append(measured("faiss IndexFlatIP", kind, found, few, expected, items=items))
            chosen = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little")))
            found = lambda query, flat=flat, chosen=chosen: flat.search(query[None, :], K, params=chosen)[1]  # noqa: E731
            rows.append(measured("faiss IndexFlatIP, filter of 1 %", kind, found, few, filtered, items=items))
            del flat
        rows += _graph(kind, vectors[: min(graph_items, items)], asked[:200], mask) if graph_items else []
    publish(
        "recommendations_retrieval",
        f"Best {K} of the items, one core, {size} axes",
        rows,
        [
            "least_recall: of the worst query. The exact answer is fp32 over all items.",
            "ours needs no vector instructions beyond AVX2: weights of ±63 keep sums of two products within 16 bits",
            f"(255 · 63 · 2 = {255 * 63 * 2} < 32768), so processors without VNNI give the same integers.",
            "load_s: from local disk, by mapping; in Lambda the files come from S3 before, at about 80 MB/s a stream.",
            f"usearch: HNSW; it cannot filter while it searches, so {_OVERFETCH} are fetched and filtered.",
        ],
    )


def _graph(
    kind: str, vectors: NDArray[np.float32], asked: NDArray[np.float32], mask: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    from usearch.index import Index as Graph

    mask = mask[: len(vectors)]
    start = time.perf_counter()
    graph = Graph(ndim=vectors.shape[1], metric="ip", dtype="f32")
    graph.add(np.arange(len(vectors)), vectors, threads=2)
    more = {"items": len(vectors), "load_s": time.perf_counter() - start}

    def plain(query: NDArray[np.float32]) -> Any:
        return graph.search(query, K, threads=1).keys

    def filtered(query: NDArray[np.float32]) -> Any:
        keys = graph.search(query, _OVERFETCH, threads=1).keys.astype(np.int64)
        return keys[mask[keys]][:K]

    return [
        measured("usearch HNSW (load_s: built)", kind, plain, asked, best_exact(vectors, asked), **more),
        measured("usearch HNSW, filter of 1 %", kind, filtered, asked, best_exact(vectors, asked, mask), **more),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument(
        "--graph-items", type=int, default=200_000, help="for usearch, which takes minutes to build; 0: without"
    )
    arguments = parser.parse_args()
    if arguments.load:
        _load(arguments.load)
    else:
        main(arguments.items, queries=arguments.queries, graph_items=arguments.graph_items)
