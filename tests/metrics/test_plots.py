"""Figures: the panels of a grid, and the names of the files."""

import pytest

pytest.importorskip("matplotlib")

from subobject.metrics.plots import new_figure, save_figure


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 2), (2, 3)])
def test_panels_come_row_by_row(rows, columns):
    figure, axes = new_figure(rows, columns, (4, 3))
    assert axes == figure.axes
    assert len(axes) == rows * columns
    places = [(-one.get_position().y0, one.get_position().x0) for one in axes]
    assert places == sorted(places)


def test_options_reach_the_panels():
    figure, (narrow, wide) = new_figure(1, 2, (6, 3), width_ratios=(1, 2))
    figure.draw_without_rendering()
    assert wide.get_position().width > 1.5 * narrow.get_position().width


def test_a_dot_in_the_name_is_kept(tmp_path):
    figure, _ = new_figure(1, 1, (2, 2))
    files = save_figure(figure, tmp_path / "made" / "run-0.5")
    assert files == [tmp_path / "made" / "run-0.5.svg", tmp_path / "made" / "run-0.5.png"]
    assert files[0].read_bytes().startswith(b"<?xml")
    assert files[1].read_bytes().startswith(b"\x89PNG")
