"""One ONNX graph of our own at run time: the product of a query with all items in 8-bit numbers.

The functions have onnxruntime but not the onnx package, so its few bytes are written here (protocol buffers, onnx.proto3).
The items are an input, not a constant: they stay in the file that they are mapped from, and nothing is loaded or packed.
"""

from __future__ import annotations

from typing import Final

import onnxruntime as ort

QUERY: Final = "query"
ITEMS: Final = "items"
PRODUCTS: Final = "products"
_IR_VERSION: Final = 10
_OPSET: Final = 18
_UINT8, _INT8, _INT32 = 2, 3, 6  # TensorProto.DataType


def product_session(size: int) -> ort.InferenceSession:
    """`query` uint8 (1, size) × `items` int8 (size, n) → `products` int32 (1, n), on one core."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(_model(size), options, providers=["CPUExecutionProvider"])


def _model(size: int) -> bytes:
    node = _bytes(1, QUERY) + _bytes(1, ITEMS) + _bytes(2, PRODUCTS) + _bytes(4, "MatMulInteger")
    graph = (
        _bytes(1, node)
        + _bytes(2, "products")
        + _bytes(11, _value(QUERY, _UINT8, [1, size]))
        + _bytes(11, _value(ITEMS, _INT8, [size, "n"]))
        + _bytes(12, _value(PRODUCTS, _INT32, [1, "n"]))
    )
    return _number(1, _IR_VERSION) + _bytes(7, graph) + _bytes(8, _number(2, _OPSET))


def _value(name: str, kind: int, shape: list[int | str]) -> bytes:
    axes = b"".join(_bytes(1, _number(1, axis) if isinstance(axis, int) else _bytes(2, axis)) for axis in shape)
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, axes)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(raw)) + raw


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
