"""Segment crop <-> sequence: round trips, sizes, averaging against a slow twin, buckets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subobject.embeddings import sequence
from subobject.images import resize
from subobject.structures import Segmentation
from tests.embeddings.partitions import chain_tree, random_partition


def slow_crop(image: np.ndarray, mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Integrate over each cell of the crop, pixel by pixel, in double precision."""
    height, width = mask.shape
    h, w = size
    crop = np.zeros((h, w, 4))
    for i in range(h):
        for j in range(w):
            top, bottom, left, right = i * height / h, (i + 1) * height / h, j * width / w, (j + 1) * width / w
            colour, covered = np.zeros(3), 0.0
            for y in range(height):
                for x in range(width):
                    overlap = max(0, min(bottom, y + 1) - max(top, y)) * max(0, min(right, x + 1) - max(left, x))
                    if mask[y, x] and overlap > 1e-9:
                        colour += overlap * image[y, x] / 255
                        covered += overlap
            if covered:
                crop[i, j] = *(colour / covered), covered / ((bottom - top) * (right - left))
    return crop


@given(width=st.integers(1, 6000), height=st.integers(1, 6000), context=st.integers(1, 1100))
def test_crop_sizes_fit_the_context(width, height, context):
    h, w = sequence.crop_size((width, height), context)
    assert 1 <= h <= height
    assert 1 <= w <= width
    assert h * w <= context
    if height * width <= context:
        assert (h, w) == (height, width)
    elif min(h, w) > 1:
        assert h * w >= context * (1 - 1 / h) * (1 - 1 / w)
        scale = np.sqrt(context / (width * height))
        assert (h, w) == (int(height * scale), int(width * scale))


@pytest.mark.parametrize(
    ("box", "size"), [((1, 1), (1, 1)), ((5000, 1), (1, 1024)), ((1, 5000), (1024, 1)), ((64, 16), (16, 64))]
)
def test_crop_sizes_of_slim_boxes(box, size):
    assert sequence.crop_size(box, 1024) == size


def test_a_context_below_one_is_refused():
    with pytest.raises(ValueError, match="context is 0: use 1 or more"):
        sequence.crop_size((3, 3), 0)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 24), st.integers(1, 24), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_packing_and_painting_are_inverse_when_segments_fit(height, width, count, seed):
    rng = np.random.default_rng(seed)
    segmentation = random_partition(rng, height, width, count)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    packed = sequence.pack(image, segmentation, context=height * width)
    assert len(packed.pixels) == (packed.sizes[:, 0] * packed.sizes[:, 1]).sum()
    for i, crop in enumerate(sequence.unpack(packed)):
        x0, y0, x1, y1 = segmentation.boxes[i]
        mask = segmentation.labels[y0:y1, x0:x1] == i
        assert np.array_equal(crop[..., 3], mask)
        assert np.array_equal(np.rint(crop[..., :3] * 255), image[y0:y1, x0:x1] * mask[..., None])
    assert np.array_equal(sequence.paint(packed, segmentation.boxes, (height, width), segmentation.labels), image)
    # Without exact masks, the colour leaks by the floor of the weights only.
    painted = sequence.paint(packed, segmentation.boxes, (height, width))
    assert np.abs(painted.astype(int) - image).max() <= 1


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 14), st.integers(1, 14), st.integers(1, 4), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_scaled_crops_average_the_pixels_of_the_segment_only(height, width, count, context, seed):
    rng = np.random.default_rng(seed)
    segmentation = random_partition(rng, height, width, count)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    for i, crop in enumerate(sequence.unpack(sequence.pack(image, segmentation, context))):
        x0, y0, x1, y1 = segmentation.boxes[i]
        expected = slow_crop(image[y0:y1, x0:x1], segmentation.labels[y0:y1, x0:x1] == i, crop.shape[:2])
        assert np.abs(crop - expected).max() < 2e-5


def test_a_flat_segment_keeps_its_colour_and_area_when_scaled():
    labels = np.zeros((60, 90), dtype=np.int32)
    labels[10:50, 20:75] = 1
    image = np.where(labels[..., None] == 1, [250, 10, 60], [0, 90, 200]).astype(np.uint8)
    segmentation = Segmentation.from_labels(labels, chain_tree(2))
    packed = sequence.pack(image, segmentation, 100)
    assert np.allclose(packed[1][:, :3], np.array([250, 10, 60]) / 255, atol=1e-6)
    h, w = packed.sizes[0]
    assert np.isclose(packed[0][:, 3].sum() / (h * w), (labels == 0).mean(), atol=1e-5)
    assert np.array_equal(sequence.paint(packed, segmentation.boxes, labels.shape, labels), image)


def test_painting_gives_back_the_colours_of_the_cells():
    """Cells of a scaled crop are means of areas, and those of what is painted are nearer to them than plain interpolation's."""
    rng = np.random.default_rng(0)
    cells = (0.3 + 0.4 * rng.random((6, 8, 3))).astype(np.float32)
    crop = np.concatenate([cells, np.ones((6, 8, 1), np.float32)], axis=2).reshape(-1, 4)
    packed = sequence.PackedSegments(crop, np.int32([[6, 8]]), np.int64([0, 48]))
    painted = sequence.paint(packed, np.array([[0, 0, 64, 48]]), (48, 64)).astype(np.float32) / 255
    plain = resize(cells, (48, 64))

    def error(picture):
        return np.abs(picture.reshape(6, 8, 8, 8, 3).mean(axis=(1, 3)) - cells).mean()

    assert error(painted) < 0.5 * error(plain)


def test_colours_outside_the_mask_do_not_leak_into_a_scaled_segment():
    crops = np.zeros((2, 8, 8, 4), np.float32)  # Black outside the masks, the left half and the right half.
    crops[0, :, :4] = [0, 0.4, 0.8, 1]
    crops[1, :, 4:] = [1, 0.2, 0.4, 1]
    packed = sequence.PackedSegments(crops.reshape(-1, 4), np.int32([[8, 8]] * 2), np.int64([0, 64, 128]))
    painted = sequence.paint(packed, np.array([[0, 0, 64, 64]] * 2), (64, 64))
    assert np.abs(painted[:, :28].astype(int) - [0, 102, 204]).max() <= 1
    assert np.abs(painted[:, 36:].astype(int) - [255, 51, 102]).max() <= 1
    assert painted[..., 1].min() >= 50
    assert painted[..., 2].min() >= 101


def test_every_pixel_is_painted_even_where_no_mask_is():
    packed = sequence.PackedSegments(np.tile(np.float32([0.2, 0.4, 0.6, 0]), (4, 1)), np.int32([[2, 2]]), np.int64([0, 4]))
    image = sequence.paint(packed, np.array([[0, 0, 9, 7]]), (7, 9))
    assert np.array_equal(image, np.broadcast_to([51, 102, 153], (7, 9, 3)))


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 25)), min_size=0, max_size=80), st.sampled_from([1, 500, 8192]))
def test_buckets_hold_every_segment_once_and_pad_little(sizes, max_cells):
    sizes = np.array(sizes, dtype=np.int32).reshape(-1, 2)
    groups = sequence.buckets(sizes, max_cells)
    assert sorted(int(i) for group in groups for i in group) == list(range(len(sizes)))
    lengths = sizes.prod(axis=1)
    padded = sum(len(group) * sequence.padded_length(lengths[group], 1000) for group in groups)
    assert padded <= 1.3 * lengths.sum()
    assert all(len(group) == 1 or len(group) * lengths[group].max() <= max_cells for group in groups)


@given(st.integers(1, 640))
def test_padding_costs_at_most_an_eighth_and_never_exceeds_the_context(longest):
    length = sequence.padded_length(np.array([1, longest]), 601 if longest <= 601 else 640)
    assert longest <= length <= 1.125 * longest
    assert length <= 601 or longest > 601


def test_padding_leaves_zeros_behind_the_end():
    packed = sequence.PackedSegments(np.ones((7, 4), np.float32), np.int32([[1, 2], [5, 1]]), np.int64([0, 2, 7]))
    pixels, sizes = sequence.pad(packed, np.array([1, 0]), 640)
    assert pixels.shape == (2, 5, 4)
    assert sizes.tolist() == [[5, 1], [1, 2]]
    assert pixels[1, :, 0].tolist() == [1, 1, 0, 0, 0]


def test_concatenated_parts_keep_their_sequences():
    rng = np.random.default_rng(0)
    parts = [
        sequence.pack(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8), random_partition(rng, 9, 12, count), 40)
        for count in (3, 1, 4)
    ]
    whole = sequence.concatenate(parts)
    expected = [part[i] for part in parts for i in range(len(part))]
    assert len(whole) == len(expected)
    assert all(np.array_equal(whole[i], one) for i, one in enumerate(expected))
    some = sequence.select(whole, np.array([6, 0, 3]))
    assert all(np.array_equal(some[i], expected[k]) for i, k in enumerate([6, 0, 3]))
    assert np.array_equal(some.sizes, whole.sizes[[6, 0, 3]])


def test_an_image_of_another_size_is_refused():
    segmentation = random_partition(np.random.default_rng(0), 5, 6, 2)
    with pytest.raises(ValueError, match=r"expected \(5, 6, 3\) uint8"):
        sequence.pack(np.zeros((6, 5, 3), np.uint8), segmentation, 16)
