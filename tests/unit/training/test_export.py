"""ONNX: what is exported says what Keras says, and the constant says its constant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from personalization.core.encoder import Column, TableEncoder
from training.export import ParityError, compare, constant_model, export, open_session
from training.runtime import prepare

prepare(0)

from training.networks.tabular import TabularConfig, build_tabular, encoder_statistics  # noqa: E402

RANDOM = np.random.default_rng(0)
ENCODER = TableEncoder(
    (
        Column("a", "numeric"),
        Column("b", "numeric"),
        Column("c", "categorical", ("x", "y")),
        Column("d", "hashed", buckets=64, salt="00"),
        Column("e", "categorical", tuple("klmnop")),
    )
)


def rows(count: int) -> dict[str, np.ndarray]:
    numeric = RANDOM.normal(size=(count, 2)).astype(np.float32) * [1, 1e6]
    numeric[RANDOM.random((count, 2)) < 0.2] = np.nan
    codes = np.stack([RANDOM.integers(0, column.cardinality, count) for column in ENCODER.categorical_columns], axis=1)
    return {"numeric": numeric.astype(np.float32), "categorical": codes}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, Path, float]:
    network = build_tabular(ENCODER, encoder_statistics(ENCODER, rows(400)), config=TabularConfig(members=4))
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    return network, path, export(network.serving, path, rows(100))


def test_both_say_the_same_on_rows_never_seen(exported: tuple[object, Path, float]) -> None:
    network, path, difference = exported
    assert difference <= 1e-5
    batch = rows(257)
    batch["numeric"][:5] = [[np.nan, np.nan], [1e30, -1e30], [0, 0], [3e38, 1], [-3e38, 1]]
    answer = open_session(path).run(["probability"], batch)[0]
    assert answer == pytest.approx(np.asarray(network.serving(batch)["probability"]), abs=1e-5)
    assert np.isfinite(answer).all()


def test_the_graph_is_one_that_the_runtime_reads_with_named_ends(exported: tuple[object, Path, float]) -> None:
    graph = onnx.load(str(exported[1]))
    assert graph.ir_version <= 10
    assert {entry.version for entry in graph.opset_import if entry.domain in ("", "ai.onnx")} == {18}
    assert {entry.name for entry in graph.graph.input} == {"numeric", "categorical"}
    assert [entry.name for entry in graph.graph.output] == ["probability"]
    assert graph.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "rows"
    assert not {"Loop", "If", "Erf"} & {node.op_type for node in graph.graph.node}


def test_what_can_be_multiplied_beforehand_is(exported: tuple[object, Path, float]) -> None:
    """The members' scalings and the held-back embeddings are constants: of products there are bins, two layers and the head."""
    nodes = [node.op_type for node in onnx.load(str(exported[1])).graph.node]
    assert nodes.count("MatMul") + nodes.count("Gemm") == 4


def test_a_graph_of_another_model_is_found_out(exported: tuple[object, Path, float], tmp_path: Path) -> None:
    other = build_tabular(ENCODER, encoder_statistics(ENCODER, rows(50)), config=TabularConfig(members=4))
    with pytest.raises(ParityError, match="differ by"):
        compare(other.serving, exported[1], rows(20))
    constant_model(tmp_path / "c.onnx", {"numeric": (2, "float32")}, {"something": 0.5})
    with pytest.raises(ParityError, match=r"expected the outputs \['probability'\], received \['something'\] from the graph"):
        compare(other.serving, tmp_path / "c.onnx", rows(20))


def test_the_constant_answers_each_row_alike(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    constant_model(path, {"numeric": (2, "float32"), "categorical": (1, "int64")}, {"p": 0.25, "k": np.array([1.0, 2.0])})
    session = open_session(path)
    assert {entry.name: entry.shape for entry in session.get_inputs()} == {"numeric": ["rows", 2], "categorical": ["rows", 1]}
    batch = {"numeric": np.full((3, 2), np.nan, np.float32), "categorical": np.zeros((3, 1), np.int64)}
    p, k = session.run(["p", "k"], batch)
    assert p.tolist() == [0.25] * 3
    assert k.tolist() == [[1.0, 2.0]] * 3


def test_a_constant_of_no_columns_answers_one_row(tmp_path: Path) -> None:
    constant_model(tmp_path / "model.onnx", {}, {"p": 0.25})
    assert open_session(tmp_path / "model.onnx").run(["p"], {})[0].tolist() == [0.25]
