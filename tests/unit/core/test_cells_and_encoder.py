"""Cells to columns, and columns to tensors."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalization.core import cells
from personalization.core.encoder import Column, TableEncoder, bucket_code
from personalization.core.time import MISSING_TIME

ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers(), max_size=2)
)
MOMENT = 1_506_816_000_000  # 2017-10-01T00:00:00Z


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("1.5", 1.5), (" 2 ", 2.0), ("1e3", 1000.0), (0, 0.0), ("0", 0.0), (True, 1.0), ("-3", -3.0), ("", None),
     ("NaN", None), ("NULL", None), (None, None), (math.nan, None), ("n/a", None)],
)  # fmt: skip
def test_numbers(cell: Any, expected: float | None) -> None:
    # Beside a text that is no number, so that the careful path is taken; and alone, for the fast one.
    values, bad = cells.numbers([cell, "many"])
    assert bad == [1]
    alone, no_bad = cells.numbers([cell])
    assert no_bad == []
    for value in (values[0], alone[0]):
        assert math.isnan(value) if expected is None else value == expected


@pytest.mark.parametrize("cell", ["inf", "-Infinity", math.inf, "1e999", "12,5", "1.2.3", [1], {"a": 1}, "１x"])
def test_what_is_no_number_is_named_and_missing(cell: Any) -> None:
    values, bad = cells.numbers(["7", cell])
    assert bad == [1]
    assert values[0] == 7.0
    assert math.isnan(values[1])


@given(st.lists(ANYTHING, max_size=20))
def test_numbers_are_finite_or_missing_for_any_cells(column: list[Any]) -> None:
    values, bad = cells.numbers(column)
    assert len(values) == len(column)
    assert not np.isinf(values).any()
    assert np.isnan(values[bad]).all()


@pytest.mark.parametrize(
    "cell",
    ["2017-10-01T00:00:00Z", "2017-10-01", "2017-10-01 00:00:00", "2017-10-01T02:00:00+02:00", "1506816000",
     1506816000, "1506816000000", 1506816000000.0, "1506816000000000", date(2017, 10, 1),
     datetime(2017, 10, 1, tzinfo=UTC), "20171001T000000Z", " 2017-10-01T00:00:00.000Z "],
)  # fmt: skip
def test_timestamps(cell: Any) -> None:
    assert cells.timestamps([cell])[0].tolist() == [MOMENT]


def test_a_time_without_offset_is_the_shops() -> None:
    values, _ = cells.timestamps(["2017-10-01", "2017-10-01T00:00:00Z"], timezone(timedelta(hours=8)))
    assert values.tolist() == [MOMENT - 8 * 3_600_000, MOMENT]


@pytest.mark.parametrize("cell", ["yesterday", "2017-13-01", "99999999999999999999999", -5, [1], {"a": 1}, True, "9999-01-01"])
def test_what_is_no_time_is_named(cell: Any) -> None:
    values, bad = cells.timestamps(["2017-10-01", cell, ""])
    assert bad == [1]
    assert values.tolist() == [MOMENT, MISSING_TIME, MISSING_TIME]


@given(st.lists(ANYTHING, max_size=10))
def test_timestamps_never_raise(column: list[Any]) -> None:
    values, bad = cells.timestamps(column)
    assert len(values) == len(column)
    assert set(bad) <= set(range(len(column)))


def test_words_of_a_csv_and_of_json_are_the_same() -> None:
    assert cells.words(["3", 3, 3.0, np.float64(3)]) == ["3"] * 4
    assert cells.words([True, "true", None, "", "NA", math.nan, " 茶 "]) == ["true", "true", None, None, None, None, "茶"]


ENCODER = TableEncoder(
    (
        Column("年龄", "numeric"),
        Column("city", "categorical", vocabulary=("北京", "Paris")),
        Column("joined", "date"),
        Column("ip", "hashed", buckets=16, salt="00ff"),
    )
)


def test_the_encoder_by_hand() -> None:
    table = {
        "年龄": ["31", "", "old"],
        "city": ["北京", "Rome", None],
        "joined": ["2017-10-01T13:30:00Z", None, "soon"],
        "ip": ["10.0.0.1", "10.0.0.1", ""],
        "unused": [1, 2, 3],
    }
    encoded = ENCODER.encode(table, 3)
    assert ENCODER.numeric_names == ("年龄", "joined.days", "joined.month", "joined.weekday", "joined.hour")
    np.testing.assert_array_equal(encoded.inputs["numeric"][0], [31, 17440, 9, 6, 13])  # a Sunday
    assert np.isnan(encoded.inputs["numeric"][1:]).all()
    assert encoded.inputs["categorical"][:, 0].tolist() == [2, 1, 0]
    same, again, missing = encoded.inputs["categorical"][:, 1].tolist()
    assert same == again == bucket_code("10.0.0.1", ENCODER.columns[3])
    assert missing == 0
    assert [(cell.row, cell.column) for cell in encoded.bad_cells] == [(2, "年龄"), (2, "joined")]


def test_a_column_that_the_table_lacks_is_missing() -> None:
    encoded = ENCODER.encode({}, 2)
    assert np.isnan(encoded.inputs["numeric"]).all()
    assert not encoded.inputs["categorical"].any()


@given(st.lists(ANYTHING, min_size=1, max_size=10))
def test_any_cells_give_tensors_within_bounds(column: list[Any]) -> None:
    encoded = ENCODER.encode({name.name: column for name in ENCODER.columns}, len(column))
    assert not np.isinf(encoded.inputs["numeric"]).any()
    for position, described in enumerate(ENCODER.categorical_columns):
        codes = encoded.inputs["categorical"][:, position]
        assert ((codes >= 0) & (codes < described.cardinality)).all()


def test_the_encoder_survives_its_json() -> None:
    assert TableEncoder.from_json(ENCODER.to_json()).columns == ENCODER.columns
