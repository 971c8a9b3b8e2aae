import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.growth import plots

from .test_growth import GROWTH


@pytest.fixture(autouse=True)
def _installed() -> None:
    pytest.importorskip("matplotlib", reason="matplotlib, of the extra `bench`, is not installed")


def test_equal_data_is_drawn_as_equal_files(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for directory in (first, second):
        directory.mkdir()
        plots.draw(GROWTH, directory)
    drawn = {each.name: each.read_bytes() for each in first.iterdir()}
    assert drawn == {each.name: each.read_bytes() for each in second.iterdir()}
    assert drawn


def test_every_plot_is_a_well_formed_image_without_a_date(tmp_path: Path) -> None:
    for file in plots.draw(GROWTH, tmp_path):
        assert ET.parse(file).getroot().tag.endswith("svg")
        assert "<dc:date>" not in file.read_text()
