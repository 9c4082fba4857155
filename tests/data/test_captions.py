"""Captions: the wording, the round trip, and a parser that takes nothing else."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subobject.data.captions import Caption, CaptionError, CaptionObject, caption, describe, parse_caption, write_captions
from subobject.data.clevr import COLOURS, MATERIALS, SHAPES, SIZES, ClevrImage, ClevrObject

GOOD = "Total 2 objects: a small gray metal cube, a large red rubber sphere."


def captions(colour):
    colours = st.sampled_from(COLOURS) if colour else st.none()
    objects = st.builds(CaptionObject, st.sampled_from(SIZES), colours, st.sampled_from(MATERIALS), st.sampled_from(SHAPES))
    return st.builds(Caption, st.integers(0, 1000), st.lists(objects, min_size=1, max_size=12).map(tuple))


@pytest.fixture
def image():
    objects = (
        ClevrObject("large", "red", "rubber", "sphere", (200.0, 10.0)),
        ClevrObject("small", "gray", "metal", "cube", (20.0, 90.0)),
    )
    return ClevrImage(0, Path("CLEVR_val_000000.png"), None, objects)


def test_wording(image):
    assert caption(image) == GOOD
    assert caption(image, colour=False) == "Total 2 objects: a small metal cube, a large rubber sphere."
    assert describe(image) == parse_caption(GOOD)


@given(captions(True))
def test_round_trip(value):
    assert parse_caption(str(value)) == value


@given(captions(False))
def test_round_trip_without_colour(value):
    assert parse_caption(str(value), colour=False) == value
    with pytest.raises(CaptionError):
        parse_caption(str(value), colour=True)


@given(captions(True), st.data())
def test_any_change_of_a_character_is_another_caption_or_none(value, data):
    text = str(value)
    at = data.draw(st.integers(0, len(text) - 1))
    changed = data.draw(st.sampled_from([text[:at] + text[at + 1 :], text[:at] + " " + text[at:], text[:at] + "x" + text[at:]]))
    with contextlib.suppress(CaptionError):
        assert str(parse_caption(changed)) == changed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not start with 'Total N objects: '"),
        (" " + GOOD, "does not start"),
        (GOOD.replace("Total 2", "Total 02"), "does not start"),
        (GOOD.replace("Total 2", "Total two"), "does not start"),
        (GOOD.lower(), "does not start"),
        (GOOD[:-1], "does not end with"),
        (GOOD + "\n", "does not end with"),
        (GOOD + " a", "does not end with"),
        ("Total 0 objects: .", "object 1 of the caption is ''"),
        (GOOD.replace(", ", ","), "object 1"),
        (GOOD.replace(", ", ", and "), "object 2"),
        (GOOD.replace("a large", "an large"), "object 2"),
        (GOOD.replace("red ", ""), "object 2 of the caption is 'a large rubber sphere': expected 'a SIZE COLOUR MATERIAL SHAPE'"),
        (GOOD.replace("red", "pink"), "object 2 of the caption has the colour 'pink': expected gray"),
        (GOOD.replace("small gray", "gray small"), "object 1 of the caption has the size 'gray'"),
        (GOOD.replace("small ", "small  "), "object 1"),
    ],
)
def test_the_parser_is_strict(text, message):
    with pytest.raises(CaptionError, match=message):
        parse_caption(text)


def test_the_number_is_read_apart_from_the_objects():
    assert parse_caption(GOOD.replace("Total 2", "Total 7")).count == 7


def test_jsonl(tmp_path, image):
    write_captions(tmp_path / "a" / "val.jsonl", [image, image])
    lines = (tmp_path / "a" / "val.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"image": "CLEVR_val_000000.png", "caption": GOOD}] * 2


def test_an_empty_scene_has_no_caption():
    with pytest.raises(ValueError, match="has no object"):
        caption(ClevrImage(0, Path("a.png"), None, ()))
