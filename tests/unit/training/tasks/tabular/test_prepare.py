"""From a file to examples: splits, notes, vocabularies."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from training.tasks.tabular.prepare import FlatTableData, PreparedTable, prepare_table


def prepared(path: Path, lines: list[str], **options: object) -> PreparedTable:
    path.write_text("\n".join(["since,clicks,user_id,label", *lines]) + "\n")
    return prepare_table(FlatTableData("ads", path, "label", **options))  # type: ignore[arg-type]


LINES = [f"2026-01-{1 + row // 4:02},{row % 7},u{row % 25},{row % 3 // 2}" for row in range(100)]


@pytest.mark.parametrize(("lines", "said"), [(LINES, True), (LINES[::-1], True), (random.Random(0).sample(LINES, 100), False)])
def test_a_note_names_the_date_that_a_table_is_sorted_by(lines: list[str], said: bool, tmp_path: Path) -> None:
    notes = prepared(tmp_path / "t.csv", lines).notes
    assert any("in the order of since" in note for note in notes) == said


def test_the_rows_of_a_user_are_on_one_side(tmp_path: Path) -> None:
    found = prepared(tmp_path / "t.csv", LINES)
    assert any("one user_id are on the same side" in note for note in found.notes)
    counts = found.counts
    assert counts["train"] + counts["validation"] + counts["test"] == 100
    assert all(counts[part] % 4 == 0 for part in ("train", "validation", "test"))  # every user has four rows


def test_columns_of_few_values_are_split_row_by_row(tmp_path: Path) -> None:
    """Everybody looks like many others there: to keep the copies together would leave nothing to test on."""
    lines = [f"{row % 3},{row % 2}" for row in range(100)]
    (tmp_path / "t.csv").write_text("\n".join(["clicks,label", *lines]) + "\n")
    found = prepare_table(FlatTableData("ads", tmp_path / "t.csv", "label"))
    assert found.counts["duplicates"] == 94
    assert (found.counts["train"], found.counts["validation"], found.counts["test"]) == (70, 16, 14)


def test_few_accidental_copies_stay_together(tmp_path: Path) -> None:
    lines = [f"{row}.5,{row % 2}" for row in range(100)] + ["7.5,1"] * 5
    (tmp_path / "t.csv").write_text("\n".join(["clicks,label", *lines]) + "\n")
    found = prepare_table(FlatTableData("ads", tmp_path / "t.csv", "label"))
    sevens = [(part.inputs["numeric"][:, 0] == 7.5).sum() for part in (found.train, found.valid, found.test)]
    assert sorted(sevens) == [0, 0, 6]


def test_words_come_from_training_rows_alone(tmp_path: Path) -> None:
    """A word that only test rows have is unknown to the encoder."""
    lines = [f"w{row % 3},{row % 2}" for row in range(40)]
    (tmp_path / "train.csv").write_text("\n".join(["word,label", *lines]) + "\n")
    (tmp_path / "test.csv").write_text("word,label\nnew,1\nw1,0\n")
    found = prepare_table(FlatTableData("ads", tmp_path / "train.csv", "label", test=tmp_path / "test.csv"))
    (column,) = found.encoder.columns
    assert set(column.vocabulary) == {"w0", "w1", "w2"}
    assert found.test.inputs["categorical"][:, 0].tolist() == [1, 2 + column.vocabulary.index("w1")]
    assert found.counts["train"] + found.counts["validation"] == 40
