"""The predictor against transformers, against slow twins, and against itself cut into pieces."""

import json
import shutil

import huggingface_hub
import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessorPil

from subobject.boundaries import BOUNDARY_MODELS, load
from subobject.boundaries.directsam import DirectSAM
from subobject.boundaries.network import BoundaryNetConfig
from subobject.boundaries.tiling import blend_weights, split_spans
from subobject.weights import WeightsError
from tests.boundaries.conftest import picture


@pytest.fixture(scope="module")
def small(boundarynet_folder) -> DirectSAM:
    return DirectSAM.from_pretrained(boundarynet_folder, runtime="onnx", device="cpu", threads=1)


@pytest.fixture(scope="module")
def published(segformer_folder) -> DirectSAM:
    return DirectSAM.from_pretrained(segformer_folder, device="cpu", threads=1)


def probabilities(model, images, **options):
    return [one.probability for one in model(images, **options)]


def difference(first, second):
    return float(np.abs(first - second).max())


def test_segformer_equals_transformers(segformer, segformer_folder, published):
    """The published checkpoints are made by these classes; at the processor's own size nothing is resized or padded."""
    image = picture(128, 128)
    processor = SegformerImageProcessorPil.from_pretrained(segformer_folder)
    with torch.inference_mode():
        logits = segformer(**processor(image, return_tensors="pt")).logits
        assert logits.shape[-2:] == (32, 32)
        expected = F.interpolate(logits, size=(128, 128), mode="bilinear", align_corners=False).sigmoid()[0, 0].numpy()
    (result,) = published([image])
    assert result.probability.dtype == np.float32
    assert expected.std() > 0.01
    assert difference(result.probability, expected) < 1e-5


def test_segformer_through_a_hub_id(segformer_folder, published, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda repo_id, allow_patterns: str(segformer_folder))
    loaded = DirectSAM.from_pretrained("chendelong/DirectSAM-1800px-0424", device="cpu", threads=1)
    image = picture(64, 96)
    np.testing.assert_array_equal(probabilities(loaded, [image])[0], probabilities(published, [image])[0])


def test_segformer_keeps_the_aspect_ratio_and_honours_the_processor(segformer_folder, tmp_path, published):
    ready = published.preprocessing
    assert (ready.resolution, ready.stride, ready.least_resolution) == (128, 32, 128)
    assert ready.input_size((300, 600), None) == (64, 128)
    assert ready.input_size((30, 60), None) == (64, 128)
    assert ready.input_size((1, 5000), None) == (1, 128)
    assert ready.input_size((300, 600), 256) == (128, 256)
    folder = shutil.copytree(segformer_folder, tmp_path / "copy")
    path = folder / "preprocessor_config.json"
    values = json.loads(path.read_text()) | {"image_mean": [0.1, 0.2, 0.3], "rescale_factor": 0.5, "do_normalize": True}
    path.write_text(json.dumps(values))
    changed = DirectSAM.from_pretrained(folder, device="cpu").preprocessing
    assert (changed.mean, changed.scale) == ((0.1, 0.2, 0.3), 0.5)
    path.write_text(json.dumps(values | {"do_normalize": False, "do_rescale": False, "size": 64}))
    plain = DirectSAM.from_pretrained(folder, device="cpu").preprocessing
    assert (plain.mean, plain.std, plain.scale, plain.resolution) == ((0, 0, 0), (1, 1, 1), 1, 64)


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (SegformerConfig(num_labels=1), 3_714_401),
        (
            SegformerConfig(num_labels=1, depths=[3, 6, 40, 3], hidden_sizes=[64, 128, 320, 512], decoder_hidden_size=768),
            84_594_113,
        ),
    ],
    ids=["b0", "b5"],
)
def test_published_sizes(config, parameters):
    with torch.device("meta"):
        model = SegformerForSemanticSegmentation(config)
    assert sum(value.numel() for value in model.parameters()) == parameters


def reference(boundarynet, image):
    """Torch alone: pad by reflection to multiples of 4, normalise, run, crop."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % 4), (0, -width % 4), (0, 0)), mode="reflect")
    x = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(v)[None, :, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        return boundarynet((x - mean) / std).logits.sigmoid()[0, 0, :height, :width].numpy()


@pytest.mark.parametrize("runtime", ["torch", "onnx", "openvino"])
@pytest.mark.parametrize("size_hw", [(1, 1), (48, 64), (37, 51), (1, 90)])
def test_boundarynet_equals_torch_on_every_runtime(boundarynet, boundarynet_folder, runtime, size_hw):
    model = DirectSAM.from_pretrained(boundarynet_folder, runtime=runtime, device="cpu", threads=1)
    image = picture(*size_hw)
    (result,) = model([image])
    assert result.size_hw == size_hw
    assert difference(result.probability, reference(boundarynet, image)) < 1e-5


def test_large_images_are_shrunk_and_small_ones_left(small):
    ready = small.preprocessing
    assert (ready.resolution, ready.stride, ready.least_resolution) == (1024, 4, 1)
    assert ready.input_size((321, 481), None) == (321, 481)
    assert ready.input_size((4096, 2048), None) == (1024, 512)
    assert ready.input_size((100, 50), 400) == (400, 200)
    (result,) = small([picture(1200, 40)])
    assert result.size_hw == (1200, 40)


def test_a_network_can_ask_for_a_least_resolution(small, boundarynet_folder, tmp_path):
    folder = shutil.copytree(boundarynet_folder, tmp_path / "network")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"least_resolution": 96}))
    model = DirectSAM.from_pretrained(folder, runtime="onnx", device="cpu", threads=1)
    assert model.preprocessing.input_size((2000, 1000), None) == (1024, 512)
    little, large = picture(48, 64), picture(100, 200)
    np.testing.assert_array_equal(probabilities(model, [little])[0], probabilities(small, [little], resolution=96)[0])
    np.testing.assert_array_equal(probabilities(model, [large])[0], probabilities(small, [large])[0])


def test_a_network_can_ask_for_a_resolution(small, boundarynet_folder, tmp_path):
    folder = tmp_path / "network"
    shutil.copytree(boundarynet_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"resolution": 96}))
    model = DirectSAM.from_pretrained(folder, runtime="onnx", device="cpu", threads=1)
    for size_hw in ((48, 64), (100, 200)):
        image = picture(*size_hw)
        shown = probabilities(model, [image])[0]
        np.testing.assert_array_equal(shown, probabilities(small, [image], resolution=96)[0])
        assert difference(shown, probabilities(small, [image])[0]) > 1e-4
    with pytest.raises(ValueError, match="resolution is 0"):
        BoundaryNetConfig(resolution=0)


def test_what_else_is_in_the_batch_does_not_matter(small, published):
    images = [picture(40, 60, 1), picture(33, 47, 2), picture(40, 60, 3), picture(1, 1, 4)]
    for model in (small, published):
        for options in ({"mode": "whole"}, {"mode": "pyramid"}, {"mode": "tiled", "resolution": 128}):
            together = probabilities(model, images, **options)
            for image, probability in zip(images, together, strict=True):
                np.testing.assert_array_equal(probabilities(model, [image], **options)[0], probability)


def test_groups_on_an_accelerator(small, monkeypatch):
    grouped = DirectSAM(small.network, small.preprocessing, small.folder)
    grouped.network = type(small.network)("onnx", "cuda", small.network.run)
    monkeypatch.setattr("subobject.boundaries.directsam._GROUP_PIXELS", 2 * 40 * 60)
    sizes = [(40, 60), (33, 47), (40, 60), (40, 60)]
    assert list(grouped._groups(sizes)) == [[0, 2], [3], [1]]
    images = [picture(*size, seed) for seed, size in enumerate(sizes)]
    for one, other in zip(probabilities(grouped, images), probabilities(small, images), strict=True):
        assert difference(one, other) < 1e-6


def slow_pyramid(model, image, levels):
    """Every tile of every level put into a full-size map of its own, weighted pixel by pixel."""
    height, width = image.shape[:2]
    maps = [model([image])[0].probability.astype(np.float64)]
    for level in range(1, levels + 1):
        rows, columns = split_spans(height, 2**level, 0.25), split_spans(width, 2**level, 0.25)
        total = np.zeros((height, width))
        for (top, bottom), down in zip(rows, blend_weights(rows, height), strict=True):
            for (left, right), across in zip(columns, blend_weights(columns, width), strict=True):
                tile = model([image[top:bottom, left:right]])[0].probability
                for y in range(top, bottom):
                    for x in range(left, right):
                        total[y, x] += tile[y - top, x - left] * float(down[y - top]) * float(across[x - left])
        maps.append(total)
    return np.mean(maps, axis=0)


@pytest.mark.parametrize("levels", [1, 2])
def test_pyramid_equals_its_slow_twin(small, published, levels):
    image = picture(50, 70)
    for model in (small, published):
        (result,) = model([image], mode="pyramid", levels=levels)
        assert difference(result.probability, slow_pyramid(model, image, levels)) < 1e-6


@pytest.mark.parametrize("size_hw", [(300, 270), (130, 500), (129, 128), (1, 700)])
def test_tiles_equal_the_whole_image(small, size_hw):
    """The network's reach is about 60 px; in a tile of 256 only pixels at least 24 px from an inner edge count."""
    image = picture(*size_hw)
    (whole,) = small([image])
    (tiled,) = small([image], mode="tiled", resolution=256)
    assert difference(whole.probability, tiled.probability) < 1e-3
    (fine,) = small([image], mode="tiled", resolution=64)
    assert difference(whole.probability, fine.probability) < 0.2
    assert np.abs(whole.probability - fine.probability).mean() < 5e-3


def test_tiles_show_no_seam(published):
    """A network that looks at the whole tile differs between tiles; jumps at seams must be no larger than elsewhere."""
    image = picture(200, 400)
    (tiled,) = published([image], mode="tiled")
    jumps = np.abs(np.diff(tiled.probability, axis=1)).mean(axis=0)
    assert jumps.max() < 3 * np.median(jumps) + 0.02


def test_a_tile_larger_than_the_image_is_the_whole_image(small):
    image = picture(61, 83)
    np.testing.assert_array_equal(probabilities(small, [image], mode="tiled")[0], probabilities(small, [image])[0])


def test_save_pretrained_round_trip(small, segformer_folder, tmp_path):
    small.save_pretrained(tmp_path / "a" / "b")
    small.save_pretrained(small.folder)
    again = DirectSAM.from_pretrained(str(tmp_path / "a" / "b"), runtime="onnx", device="cpu", threads=1)
    image = picture(40, 40)
    np.testing.assert_array_equal(probabilities(again, [image])[0], probabilities(small, [image])[0])


def test_wrong_input_is_refused(small):
    def refuse(message, image=None, **options):
        with pytest.raises(ValueError, match=message):
            small([picture(8, 8) if image is None else image], **options)

    refuse("unknown mode 'hole': did you mean 'whole'", mode="hole")
    refuse("resolution is 3: use at least 16", resolution=3)
    refuse("levels is 0", mode="pyramid", levels=0)
    refuse(r"expected shape \(H, W, 3\) uint8 with pixels, got \(8, 8\) uint8", np.zeros((8, 8), np.uint8))
    refuse("got .* float64", np.zeros((8, 8, 3)))
    refuse("got str", "a.jpg")
    assert small([]) == []


def test_other_models_are_refused(segformer, segformer_folder, tmp_path):
    folder = shutil.copytree(segformer_folder, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    with pytest.raises(WeightsError, match=r"model_type is 'bert', expected one of segformer, subobject_boundary_net"):
        DirectSAM.from_pretrained(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(WeightsError, match="is not valid JSON"):
        DirectSAM.from_pretrained(folder)
    two = SegformerForSemanticSegmentation(SegformerConfig.from_dict(segformer.config.to_dict() | {"num_labels": 2}))
    two.save_pretrained(folder)
    with pytest.raises(ValueError, match="the network has 2 labels, a boundary network has 1"):
        DirectSAM.from_pretrained(folder, device="cpu")([picture(32, 32)])


def test_every_member_of_the_table_follows_the_protocol(boundarynet_folder):
    for name in BOUNDARY_MODELS:
        model = load(name, weights=boundarynet_folder if name == "directsam" else None, device="cpu")
        images = [picture(20, 30), picture(1, 1)]
        assert [one.size_hw for one in model(images)] == [(20, 30), (1, 1)]
    with pytest.raises(ValueError, match="unknown boundary model 'gradiant': did you mean 'gradient'"):
        load("gradiant")
    with pytest.raises(ValueError, match="'gradient' has no weights"):
        load("gradient", weights=boundarynet_folder)


def test_multiscale_is_the_mean_of_three_passes(small):
    images = [picture(96, 160), picture(200, 90)]
    for image, result in zip(images, probabilities(small, images, mode="multiscale"), strict=True):
        long = max(image.shape)
        passes = [probabilities(small, [image], resolution=int(long * scale))[0] for scale in (0.5, 1, 1.5)]
        assert difference(passes[0], passes[2]) > 1e-3
        assert difference(result, np.mean(passes, axis=0)) < 1e-6
