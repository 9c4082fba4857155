"""What N tokens keep: costs by hand, scores against known pictures, and the table of methods."""

import numpy as np
import pytest

from subobject.embeddings.mean_colour import MeanColour
from subobject.embeddings.patch import PatchEmbedder
from subobject.metrics import rate
from subobject.structures import Segmentation
from tests.embeddings.partitions import chain_tree, random_partition


class Fixture:
    """An annotated image of noise."""

    id = "noise"

    def __init__(self, size_hw=(24, 36)):
        self.pixels = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), dtype=np.uint8)

    def image(self):
        return self.pixels


def exact_patches(side: int) -> PatchEmbedder:
    values = 3 * side**2
    return PatchEmbedder(np.eye(values, dtype=np.float32), np.zeros(values, np.float32))


@pytest.mark.parametrize(
    ("size_hw", "budget", "grid"), [((100, 150), 24, (4, 6)), ((321, 481), 64, (7, 9)), ((50, 10), 5, (5, 1))]
)
def test_the_grid_has_nearly_square_cells_within_the_budget(size_hw, budget, grid):
    segmentation = rate.cut_grid(np.zeros((*size_hw, 3), np.uint8), budget)
    rows, columns = len(np.unique(segmentation.boxes[:, 1])), len(np.unique(segmentation.boxes[:, 0]))
    assert (rows, columns) == grid
    assert segmentation.num_segments == rows * columns <= budget


def test_costs_of_a_token():
    image = Fixture().pixels
    segmentation = random_partition(np.random.default_rng(1), 24, 36, 5)
    kept = 67 * segmentation.num_segments
    for dtype, bytes_ in (("int8", 67 + 4 + 8), ("float32", 4 * 67 + 8), ("float16", 2 * 67 + 8)):
        values = rate.code(image, segmentation, rate.Coder("mean-colour", rate.cut_grid, MeanColour()), dtype).values
        assert values["kept"] == kept
        assert values["bytes"] == bytes_ * segmentation.num_segments
    grid = rate.Coder("patch", rate.cut_grid, exact_patches(6), box_bytes=0)
    cut = rate.cut_grid(image, 24)
    assert rate.code(image, cut, grid).values["bytes"] == 24 * (108 + 4)


def test_scores_of_a_coder_that_keeps_everything():
    image = Fixture().pixels
    cut = rate.cut_grid(image, 24)
    coded = rate.code(image, cut, rate.Coder("patch", rate.cut_grid, exact_patches(6), 0), "float32")
    assert np.array_equal(coded.picture, image)
    assert coded.values["psnr"] == coded.values["segment_psnr"] == 60
    assert coded.values["ssim"] == pytest.approx(1)
    assert coded.values["mask_iou"] == 1
    rounded = rate.code(image, cut, rate.Coder("patch", rate.cut_grid, exact_patches(6), 0), "int8").values["psnr"]
    assert 44 < rounded < 60


def test_exact_masks_with_mean_colours():
    labels = np.zeros((12, 16), np.int32)
    labels[:, 8:] = 1
    image = np.zeros((12, 16, 3), np.uint8)
    image[::2, :8] = 100
    image[:, 8:] = 77
    segmentation = Segmentation.from_labels(labels, chain_tree(2))
    coded = rate.code(image, segmentation, rate.Coder("flat", rate.cut_grid, None))
    assert np.array_equal(np.unique(coded.picture[:, :8]), [50])
    assert np.array_equal(np.unique(coded.picture[:, 8:]), [77])
    assert coded.values["psnr"] == pytest.approx(-10 * np.log10(0.5 * (50 / 255) ** 2), abs=1e-6)
    half = -10 * np.log10((50 / 255) ** 2)
    assert coded.values["segment_psnr"] == pytest.approx((half + 60) / 2, abs=1e-4)
    assert coded.values["bytes"] is None


def test_mask_iou_counts_the_decoded_shape():
    """A triangle whose decoded mask is its whole box."""
    labels = (np.arange(16)[:, None] > np.arange(16)).astype(np.int32)
    segmentation = Segmentation.from_labels(labels, chain_tree(2))
    embedder = exact_patches(4)
    vectors = embedder.embed(np.zeros((16, 16, 3), np.uint8), segmentation)
    assert rate.mean_mask_iou(embedder, vectors, segmentation) == pytest.approx((136 / 256 + 120 / 225) / 2)


def test_evaluate_means_over_images_and_matches_bytes():
    shown = []
    first = rate.Coder("flat-colour", rate.cut_grid, MeanColour())
    second = rate.Coder("patch", rate.cut_grid, exact_patches(2), 0)
    sizes = [(40, 60), (60, 40)]
    images = [Fixture(size) for size in sizes]
    rows = rate.evaluate(images, [first, second], ["jpeg"], [16, 4], show=lambda name, pictures: shown.append((name, pictures)))
    assert [(row["method"], row["budget"]) for row in rows] == [
        (name, budget) for budget in (16, 4) for name in ("flat-colour", "patch", "jpeg")
    ]
    for row in rows:
        if row["method"] == "jpeg":
            reference = next(one for one in rows if one["budget"] == row["budget"])
            assert row["bytes"] <= reference["bytes"]
    assert rows[0]["psnr"] == pytest.approx(
        np.mean([rate.code(one.pixels, rate.cut_grid(one.pixels, 16), first).values["psnr"] for one in images]), abs=1e-3
    )
    assert [len(pictures) for _, pictures in shown] == [2, 2]
    assert [title.split(",")[0] for title, _ in shown[0][1][0]] == ["original", "flat-colour", "patch", "jpeg"]
    with pytest.raises(ValueError, match="budgets of 1 or more"):
        rate.evaluate(images, [first], [], [0])


def test_methods_are_made_by_name():
    coders = rate.make_coders(["mean-colour-exact", "patch-16"], rate.cut_grid, lambda name, weights: (name, weights))
    assert coders[0].embedder is None
    assert coders[1].embedder == ("patch", "patch.bsds500-p16")
    assert (coders[0].box_bytes, coders[1].box_bytes) == (8, 0)
    with pytest.raises(ValueError, match="unknown method 'patch-64'"):
        rate.make_coders(["patch-64"], rate.cut_grid, lambda name, weights: None)
