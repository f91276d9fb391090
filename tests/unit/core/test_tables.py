"""Markdown tables."""

import pytest

from emofeedback_trainer.core.tables import table


def test_a_table_has_a_line_for_its_header_a_rule_and_a_line_a_row() -> None:
    assert table(["", "n"], [["mean", "3"], ["rest", ""]]) == "| | n |\n|---|---|\n| mean | 3 |\n| rest | |"


def test_a_cell_that_holds_a_bar_stays_one_cell() -> None:
    assert table(["|dV|"], []) == "| \\|dV\\| |\n|---|"


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a row has 1 cells, the header 2"):
        table(["a", "b"], [["1"]])
