"""From Keras to ONNX, with a check that both give the same outputs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before onnxruntime is imported

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET: Final = 18  # tf2onnx's newest
IR_VERSION: Final = 10  # onnx writes a newer one than onnxruntime 1.28 reads
TOLERANCE: Final = 1e-4


class ParityError(Exception):
    """The exported graph and the Keras model give different outputs."""


def export(
    model: Any, path: Path, batch: Mapping[str, NDArray[Any]], *, tolerance: float = TOLERANCE, relative: bool = False
) -> float:
    """Write a functional Keras model to `path` and compare it with ONNX Runtime; the largest difference.

    model     its inputs and outputs are dicts; each output comes from a layer of its name
    batch     real rows by input name; compared as a whole, and its first row and first three alone
    relative  divide each difference by max(1, |value|), for outputs that are not probabilities

    Raises `ParityError` where the graph lacks an output or a difference exceeds `tolerance`.
    """
    import tensorflow as tf
    import tf2onnx

    signature = {t.name: tf.TensorSpec((None, *t.shape[1:]), t.dtype, name=t.name) for t in tf.nest.flatten(model.inputs)}
    proto, _ = tf2onnx.convert.from_keras(model, input_signature=[signature], opset=OPSET)
    for value in [*proto.graph.input, *proto.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "rows"
    path.write_bytes(proto.SerializeToString())
    return compare(model, path, batch, tolerance=tolerance, relative=relative)


def compare(
    model: Any, path: Path, batch: Mapping[str, NDArray[Any]], *, tolerance: float = TOLERANCE, relative: bool = False
) -> float:
    """The largest difference between `model` and the graph in `path`, over the batch and its first 1 and 3 rows."""
    session = open_session(path)
    names = [output.name for output in session.get_outputs()]
    worst = 0.0
    rows = len(next(iter(batch.values())))
    for count in sorted({1, min(3, rows), rows}):
        part = {name: np.ascontiguousarray(values[:count]) for name, values in batch.items()}
        expected = {name: np.asarray(value) for name, value in model(part, training=False).items()}
        if set(names) != set(expected):
            raise ParityError(f"expected the outputs {sorted(expected)}, received {sorted(names)} from the graph")
        for name, value in zip(names, session.run(names, part), strict=True):
            if value.shape != expected[name].shape:
                raise ParityError(f"{name}: expected the shape {expected[name].shape}, received {value.shape} from the graph")
            scale = np.maximum(1.0, np.abs(expected[name])) if relative else 1.0
            difference = float(np.max(np.abs(value - expected[name]) / scale, initial=0.0))
            if not difference <= tolerance:  # NaN too
                raise ParityError(f"{name}: Keras and ONNX Runtime differ by {difference:.2e} on {count} rows")
            worst = max(worst, difference)
    return worst


def open_session(path: Path) -> ort.InferenceSession:
    """A session of the graph on one thread, as the functions run it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def constant_model(
    path: Path, inputs: Mapping[str, tuple[int, str]], outputs: Mapping[str, NDArray[np.float32] | float]
) -> None:
    """Write a graph with the same outputs for every row, such as base rates.

    inputs    by name: number of columns, and ``float32`` or ``int64``
    outputs   by name: a number → (N,), a vector of K → (N, K)

    Without any input (a table without a usable column) its outputs have one row.
    """
    kinds = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
    constants = []
    if inputs:
        nodes = [helper.make_node("Shape", [next(iter(inputs))], ["shape"], start=0, end=1)]  # (1,): the number of rows
    else:
        nodes = []
        constants.append(numpy_helper.from_array(np.array([1], np.int64), "shape"))
    results = []
    for name, value in outputs.items():
        array = np.asarray(value, np.float32)
        constants.append(numpy_helper.from_array(array, f"{name}_value"))
        target = "shape"
        if array.ndim:
            constants.append(numpy_helper.from_array(np.array(array.shape, np.int64), f"{name}_columns"))
            nodes.append(helper.make_node("Concat", ["shape", f"{name}_columns"], [f"{name}_shape"], axis=0))
            target = f"{name}_shape"
        nodes.append(helper.make_node("Expand", [f"{name}_value", target], [name]))
        results.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", *array.shape]))
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info(name, kinds[kind], ["rows", size]) for name, (size, kind) in inputs.items()],
        results,
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
