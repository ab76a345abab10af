"""The same work on many parts, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")


def map_parallel(work: Callable[[Part], Result], parts: Iterable[Part], workers: int) -> Iterator[Result]:
    """Results in no particular order. `parts` is read only as fast as it is worked on, so it may be endless in memory.

    The first error stops everything: what runs is waited for, nothing new is begun, and the error is raised.
    """
    waiting = iter(parts)
    first = list(islice(waiting, 2))
    if len(first) < 2:  # a thread would cost more than it saves
        yield from (work(part) for part in first)
        return
    with ThreadPoolExecutor(max_workers=workers) as pool:
        running: set[Future[Result]] = {pool.submit(work, part) for part in first}
        try:
            while running:
                for part in islice(waiting, workers - len(running)):
                    running.add(pool.submit(work, part))
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
