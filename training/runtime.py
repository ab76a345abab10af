"""TensorFlow and Keras: quiet, deterministic and on few threads, set before anything imports them."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

THREADS: Final = 2


def prepare(seed: int, *, threads: int = THREADS) -> None:
    """Fix every seed and the order of every sum. Call it before building a network; calling it again re-seeds.

    The same data, options and seed give the same weights on the same kind of processor.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    with _silent_stderr():
        import keras
        import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        pass  # TensorFlow already runs, with the threads of the first call
    tf.config.experimental.enable_op_determinism()
    tf.get_logger().setLevel("ERROR")
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)  # of Python's, numpy's and TensorFlow's generators


def peak_memory_mb() -> float:
    """Peak resident memory of this process, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak / (1024 if sys.platform == "linux" else 1024 * 1024))


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """TensorFlow's C++ side writes four lines at import before its log level counts (tensorflow 2.21)."""
    if "tensorflow" in sys.modules:
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)
