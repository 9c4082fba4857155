"""Scores of captions, by cases counted by hand."""

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subobject.data.captions import Caption, CaptionObject, parse_caption
from subobject.data.clevr import COLOURS, MATERIALS, SHAPES, SIZES
from subobject.metrics.captions import (
    ATTRIBUTES,
    caption_scores,
    pair_objects,
    perplexity,
    prefill_flops,
)

TRUE = "Total 3 objects: a small gray metal cube, a large red rubber sphere, a small blue metal cylinder."


def scores(*predictions, truth=TRUE, colour=True):
    return caption_scores(predictions, [parse_caption(truth, colour=colour)] * len(predictions))


def test_a_right_caption():
    assert scores(TRUE) == {
        "images": 1,
        "parse_rate": 1,
        "count": 1,
        "size": 1,
        "colour": 1,
        "material": 1,
        "shape": 1,
        "object": 1,
        "exact": 1,
    }


def test_what_is_no_caption_has_everything_wrong():
    found = scores(TRUE, "a cube")
    assert {name: found[name] for name in found if name != "images"} == dict.fromkeys(
        ["parse_rate", "count", *ATTRIBUTES, "object", "exact"], 0.5
    )


def test_attributes_are_counted_apart():
    found = scores("Total 3 objects: a large gray metal cube, a large red metal sphere, a small blue metal cube.")
    assert (found["count"], found["size"], found["colour"], found["material"], found["shape"]) == (1, 2 / 3, 1, 2 / 3, 2 / 3)
    assert (found["object"], found["exact"]) == (0, 0)


def test_objects_in_another_order_are_wrong():
    found = scores("Total 3 objects: a large red rubber sphere, a small gray metal cube, a small blue metal cylinder.")
    assert (found["size"], found["colour"], found["object"]) == (1 / 3, 1 / 3, 1 / 3)


def test_a_missed_object_does_not_shift_the_others():
    found = scores("Total 2 objects: a large red rubber sphere, a small blue metal cylinder.")
    assert (found["count"], found["size"], found["shape"], found["object"]) == (0, 2 / 3, 2 / 3, 2 / 3)


def test_a_made_up_object_counts_in_the_denominator():
    found = scores(TRUE.replace("a small gray", "a large cyan metal sphere, a small gray").replace("Total 3", "Total 4"))
    assert (found["count"], found["size"], found["object"]) == (0, 3 / 4, 3 / 4)


def test_the_stated_number_counts_and_not_the_list():
    listed_two = "Total 3 objects: a small gray metal cube, a large red rubber sphere."
    assert scores(listed_two)["count"] == 1
    assert scores(TRUE.replace("Total 3", "Total 2"))["count"] == 0
    assert scores(TRUE.replace("Total 3", "Total 2"))["object"] == 1


def test_images_with_many_objects_weigh_more():
    one, three = "Total 1 objects: a small gray metal cube.", TRUE
    wrong = "Total 1 objects: a large red rubber sphere."
    found = caption_scores([wrong, three], [parse_caption(one), parse_caption(three)])
    assert (found["size"], found["count"], found["exact"]) == (3 / 4, 1, 0.5)


def test_captions_without_colour():
    truth = "Total 1 objects: a small metal cube."
    found = scores(truth, "Total 1 objects: a small gray metal cube.", truth=truth, colour=False)
    assert "colour" not in found
    assert (found["parse_rate"], found["size"]) == (0.5, 0.5)


def test_numbers_must_fit():
    with pytest.raises(ValueError, match="1 predictions for 2 references"):
        caption_scores([TRUE], [parse_caption(TRUE)] * 2)
    with pytest.raises(ValueError, match="at least one"):
        caption_scores([], [])


objects = st.lists(
    st.builds(
        CaptionObject,
        st.sampled_from(SIZES),
        st.sampled_from(COLOURS[:2]),
        st.sampled_from(MATERIALS),
        st.sampled_from(SHAPES[:2]),
    ),
    max_size=6,
)


def agreement(pairs):
    return sum(getattr(one, name) == getattr(other, name) for one, other in pairs for name in ATTRIBUTES)


@given(objects, objects)
def test_pairing_is_the_best_one_in_order(predicted, true):
    """A twin that tries every way to leave objects of the longer list out."""
    pairs = pair_objects(predicted, true)
    short, long = sorted([predicted, true], key=len)
    swapped = len(predicted) > len(true)
    choices = [list(zip(short, chosen, strict=True)) for chosen in combinations(long, len(short))]
    ordered = [(other, one) if swapped else (one, other) for one, other in max(choices, key=agreement)]
    assert len(pairs) == len(short)
    assert agreement(pairs) == agreement(ordered)
    assert ([one for one, _ in pairs] if not swapped else [other for _, other in pairs]) == short
    if len(predicted) == len(true):
        assert pairs == list(zip(predicted, true, strict=True))


def test_perplexity_counts_targets_and_not_captions():
    assert perplexity([2.0, 4.0], [1, 3]) == pytest.approx(math.exp(6 / 4))


def test_prefill_flops_by_hand():
    """Two operations each: 10 weights, 7 tokens; 2 layers of width 3, 7 x 7 / 2 pairs, score and sum; 5 for 4 tokens."""
    flops = prefill_flops(tokens=7, image_tokens=4, weights=10, layers=2, attention_width=3, projector_weights=5)
    assert flops == 2 * 10 * 7 + 2 * (2 + 2) * 3 * 7 * 7 / 2 + 2 * 5 * 4


def test_a_caption_is_its_text():
    assert str(Caption(3, parse_caption(TRUE).objects)) == TRUE
