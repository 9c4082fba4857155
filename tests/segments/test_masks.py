"""Mask sets to partitions: a readable twin, properties, every form of input, and the networks of transformers at toy size."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from pycocotools import mask as coco

from subobject.segments.mask_formats import MaskSet, crop_mask, decode_mask, read_masks
from subobject.segments.masks import PartitionRule, partition_masks, segmentation_from_masks

from .twins import check_segmentation, components_twin, neighbours

RULES = ("smallest", "largest", "best", "first", "last")


def rectangles(seed: int, size_hw: tuple[int, int], count: int) -> np.ndarray:
    """Masks of one or two rectangles each, which overlap, nest, touch and leave gaps; some are empty."""
    random = np.random.default_rng(seed)
    masks = np.zeros((count, *size_hw), bool)
    for mask in masks:
        for _ in range(random.integers(0, 3)):
            (y0, y1), (x0, x1) = (np.sort(random.integers(0, side + 1, 2)) for side in size_hw)
            mask[y0:y1, x0:x1] = True
    return masks


def partition_twin(masks: np.ndarray, scores: np.ndarray, rule: PartitionRule) -> tuple[np.ndarray, list[int]]:
    """Decide pixel by pixel, give away small parts step by step, and number what is connected."""
    rank = {
        "smallest": [-int(mask.sum()) for mask in masks],
        "largest": [int(mask.sum()) for mask in masks],
        "best": list(scores),
        "first": [-i for i in range(len(masks))],
        "last": list(range(len(masks))),
    }[rule.on_top]
    owner = np.full(masks.shape[1:], -1)
    for pixel in np.ndindex(*owner.shape):
        claiming = [i for i in range(len(masks)) if masks[i][pixel]]
        if claiming:
            owner[pixel] = max(claiming, key=lambda i: (rank[i], i))
    parts, count = components_twin(owner)
    kept = []
    for part in range(count):
        share = np.count_nonzero(parts == part) / owner.size
        is_gap = owner[parts == part][0] < 0
        kept.append(share > rule.fill if is_gap else share >= rule.smallest_part)
    if not any(kept):
        kept[int(np.argmax([np.count_nonzero(parts == part) for part in range(count)]))] = True
    open_pixels = {pixel for pixel in np.ndindex(*owner.shape) if not kept[parts[pixel]]}
    front = [pixel for pixel in np.ndindex(*owner.shape) if pixel not in open_pixels]
    while open_pixels:
        following = []
        for pixel in front:
            for other in neighbours(*pixel, owner.shape):
                if other in open_pixels:
                    open_pixels.remove(other)
                    owner[other] = owner[pixel]
                    following.append(other)
        front = following
    labels, number = components_twin(owner)
    return labels, [int(owner[labels == i][0]) for i in range(number)]


@given(
    seed=st.integers(0, 10_000),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    count=st.integers(0, 6),
    on_top=st.sampled_from(RULES),
    fill=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    smallest=st.sampled_from([0.0, 0.1, 1.0]),
)
def test_the_partition_equals_its_twin_and_holds_what_it_promises(seed, size, count, on_top, fill, smallest):
    masks = rectangles(seed, size, count)
    scores = np.random.default_rng(seed).permutation(count) / 10
    rule = PartitionRule(on_top=on_top, fill=fill, smallest_part=smallest)
    made = partition_masks(MaskSet(size, [crop_mask(mask) for mask in masks], scores), rule)
    labels, owners = partition_twin(masks, scores, rule)
    assert np.array_equal(made.labels, labels)
    assert made.owners.tolist() == owners
    assert components_twin(made.labels)[1] == len(made.owners)
    report = made.report
    assert report.masks == count
    assert list(report.empty) == [i for i in range(count) if not masks[i].any()]
    assert set(report.hidden) == set(range(count)) - set(report.empty) - {i for i in owners if i >= 0}
    assert report.overlapping_pixels == np.count_nonzero(masks.sum(axis=0) > 1)
    assert report.gap_pixels == np.count_nonzero(masks.sum(axis=0) == 0)
    assert report.gap_segments == owners.count(-1)
    assert report.split_parts == len([i for i in owners if i >= 0]) - len({i for i in owners if i >= 0})
    changed = made.owners[made.labels]
    claimed = np.array([masks[i][y, x] if (i := changed[y, x]) >= 0 else masks[:, y, x].sum() == 0 for y, x in np.ndindex(*size)])
    assert np.count_nonzero(~claimed) <= report.filled_pixels


def test_a_partition_stays_as_it_is():
    labels = components_twin(np.random.default_rng(0).integers(0, 3, (9, 11)))[0]
    masks = np.stack([labels == i for i in range(labels.max() + 1)])
    made = partition_masks(masks)
    assert np.array_equal(made.labels, labels)
    assert made.owners.tolist() == list(range(len(masks)))
    report = made.report
    assert (report.overlapping_pixels, report.gap_pixels, report.filled_pixels, report.split_parts) == (0, 0, 0, 0)


def test_nested_masks_by_each_rule():
    wide, narrow = np.zeros((2, 5, 6), bool)
    wide[:, 1:5], narrow[1:3, 2:4] = True, True
    given_masks = MaskSet((5, 6), [crop_mask(wide), crop_mask(narrow)], np.array([0.9, 0.8]))
    seen = {name: 1 in partition_masks(given_masks, PartitionRule(on_top=name)).owners for name in RULES}
    assert seen == {"smallest": True, "largest": False, "best": False, "first": False, "last": True}
    assert partition_masks(given_masks, PartitionRule(on_top="largest")).report.hidden == (1,)
    # The columns beside the wide mask are one gap each; filled, they belong to it.
    assert partition_masks(given_masks, PartitionRule(fill=0)).owners.tolist() == [-1, 0, -1, 1]
    filled = partition_masks(given_masks, PartitionRule(fill=1))
    assert filled.owners.tolist() == [0, 1]
    assert (filled.report.gap_pixels, filled.report.filled_pixels) == (10, 10)


def test_no_mask_at_all_is_one_segment():
    made = partition_masks(np.zeros((0, 4, 5), bool), size_hw=(4, 5))
    assert (made.labels == 0).all()
    assert made.owners.tolist() == [-1]
    assert partition_masks([], PartitionRule(fill=1), (4, 5)).report.gap_segments == 1


def test_a_segmentation_with_a_budget():
    masks = rectangles(3, (30, 40), 9)
    strength = np.random.default_rng(0).random((30, 40), np.float32)
    segmentation = segmentation_from_masks(masks, strength, 4)
    check_segmentation(segmentation, (30, 40))
    assert segmentation.num_segments == 4
    with pytest.raises(ValueError, match="expected one size"):
        segmentation_from_masks(masks, strength[:9])


def forms(masks: np.ndarray) -> dict[str, object]:
    """The same masks in every form but those that cannot overlap."""
    import torch

    packed = [coco.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]
    runs = []
    for mask in masks:
        flat = mask.T.ravel()
        edges = np.flatnonzero(np.diff(np.concatenate([[False], flat, [False]]).astype(int)))
        runs.append({"size": list(mask.shape), "counts": np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()})
    scores = np.linspace(0.5, 0.9, len(masks))
    return {
        "bool array": masks,
        "numbers": masks.astype(np.float32),
        "tensor": torch.from_numpy(masks),
        "list of arrays": list(masks),
        "SAM automatic masks": [
            {"segmentation": mask, "area": int(mask.sum()), "predicted_iou": score}
            for mask, score in zip(masks, scores, strict=True)
        ],
        "COCO, bytes": [{"segmentation": rle, "category_id": 1} for rle in packed],
        "SA-1B": [
            {"segmentation": {"size": rle["size"], "counts": rle["counts"].decode()}, "predicted_iou": score}
            for rle, score in zip(packed, scores, strict=True)
        ],
        "COCO, not compressed": [{"segmentation": one} for one in runs],
        "pipeline of transformers": {"masks": [torch.from_numpy(mask) for mask in masks], "scores": torch.from_numpy(scores)},
        "FastSAM": SimpleNamespace(
            masks=SimpleNamespace(data=torch.from_numpy(masks).float()),
            boxes=SimpleNamespace(conf=torch.from_numpy(scores)),
            orig_shape=masks.shape[1:],
        ),
    }


def test_every_form_gives_the_same_masks():
    masks = rectangles(5, (12, 17), 5)
    for name, form in forms(masks).items():
        found = read_masks(form)
        assert found.size_hw == (12, 17), name
        for mask, crop in zip(masks, found.masks, strict=True):
            full = np.zeros((12, 17), bool)
            full[crop.window] = crop.inside
            assert np.array_equal(full, mask), name
            assert crop.area == mask.sum()
        if name in ("SAM automatic masks", "SA-1B", "pipeline of transformers", "FastSAM"):
            assert found.scores == pytest.approx(np.linspace(0.5, 0.9, 5)), name
        else:
            assert found.scores is None


def test_panoptic_maps_and_their_void():
    numbers = np.array([[7, 7, -1], [3, 3, 3]])
    made = partition_masks({"segmentation": numbers, "segments_info": [{"id": 7, "score": 0.9}, {"id": 3, "score": 0.8}]})
    assert made.labels.tolist() == [[0, 0, 1], [2, 2, 2]]
    assert made.owners.tolist() == [0, -1, 1]


def test_polygons_are_filled():
    points = [2.0, 1.0, 9.0, 1.0, 9.0, 6.0, 2.0, 6.0]
    found = decode_mask([points, [0, 8, 3, 8, 3, 9]], (10, 12))
    canvas = Image.new("1", (12, 10))
    ImageDraw.Draw(canvas).polygon(points, fill=1)
    ImageDraw.Draw(canvas).polygon([0, 8, 3, 8, 3, 9], fill=1)
    assert np.array_equal(found, np.asarray(canvas))
    # pycocotools, which has another rule for the outline.
    reference = coco.decode(coco.merge(coco.frPyObjects([points], 10, 12))) > 0
    assert np.count_nonzero(found[:7] & reference[:7]) / np.count_nonzero(found[:7] | reference[:7]) > 0.7


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([np.zeros((2, 2), bool), np.zeros((3, 3), bool)], "expected one size, got 2 x 2, 3 x 3"),
        ([], "expected one size, got none"),
        (3, "expected an array"),
        (np.zeros((2, 2), bool), r"expected an array \(H, W\)"),
        ([{"segmentation": {"size": [2, 2], "counts": [1, 2]}}], "run lengths cover 3 pixels"),
        ([{"segmentation": {"size": [2, 2]}}], "expected a dictionary with size"),
        ([{"segmentation": [[0, 0, 1, 1, 2, 2]]}], "give size_hw"),
        ({"masks": [np.zeros((2, 2), bool)], "scores": [1, 2]}, "expected one for each of 1 masks, got 2"),
        ({"segmentation": np.zeros(3), "segments_info": []}, "expected a panoptic map"),
    ],
)
def test_what_is_no_set_of_masks_is_refused(source, message):
    with pytest.raises(ValueError, match=message):
        read_masks(source)


def test_wrong_rules_are_refused():
    with pytest.raises(ValueError, match="on_top is 'small': use one of smallest, largest"):
        PartitionRule(on_top="small")
    with pytest.raises(ValueError, match="fill is 2"):
        PartitionRule(fill=2)
    with pytest.raises(ValueError, match="the masks have no scores"):
        partition_masks(np.ones((1, 2, 2), bool), PartitionRule(on_top="best"))
    with pytest.raises(ValueError, match="a polygon has 4 numbers"):
        decode_mask([[0, 0, 1, 1]], (3, 3))
    with pytest.raises(ValueError, match="run lengths are for 2 x 2 pixels"):
        decode_mask({"size": [2, 2], "counts": [4]}, (3, 3))
