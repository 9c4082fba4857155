"""The embedder around SeqAE: ragged batches, ONNX against torch, errors."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from subobject.embeddings.autoencoder import SeqAEEmbedder  # noqa: E402
from subobject.embeddings.export import export_onnx  # noqa: E402
from subobject.embeddings.seqae import SeqAE, SeqAEConfig  # noqa: E402
from subobject.embeddings.sequence import PackedSegments, pack  # noqa: E402
from subobject.weights import WeightsError  # noqa: E402
from tests.embeddings.partitions import random_partition  # noqa: E402

SMALL = {
    "context": 64,
    "width": 40,
    "hidden": 80,
    "heads": 2,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "vector": 48,
    "cosines": 4,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("seqae")
    model = SeqAE(SeqAEConfig(**SMALL))
    model.save_pretrained(folder)
    assert [path.name for path in export_onnx(model, folder)] == ["encoder.onnx", "decoder.onnx"]
    return folder


@pytest.fixture(scope="module")
def scenes():
    rng = np.random.default_rng(0)
    segmentations = [random_partition(rng, *size) for size in [(40, 50, 30), (1, 1, 1), (33, 7, 5)]]
    return [rng.integers(0, 256, (*one.size_hw, 3), dtype=np.uint8) for one in segmentations], segmentations


def test_onnx_equals_torch(folder, scenes):
    images, segmentations = scenes
    ours, theirs = (SeqAEEmbedder.from_pretrained(folder, runtime=runtime) for runtime in ("onnx", "torch"))
    assert (ours.encoder.runtime, theirs.encoder.runtime, ours.dim, ours.context) == ("onnx", "torch", 48, 64)
    for image, segmentation in zip(images, segmentations, strict=True):
        vectors = ours.embed(image, segmentation)
        assert vectors.shape == (segmentation.num_segments, 48)
        assert np.abs(vectors - theirs.embed(image, segmentation)).max() < 1e-4
        sizes = pack(image, segmentation, 64).sizes
        assert np.abs(ours.decode(vectors, sizes).pixels - theirs.decode(vectors, sizes).pixels).max() < 1e-4


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_ragged_batches_equal_one_at_a_time(folder, scenes, runtime):
    images, segmentations = scenes
    embedder = SeqAEEmbedder.from_pretrained(folder, runtime=runtime)
    together = embedder.embed_batch(images, segmentations)
    for image, segmentation, vectors in zip(images, segmentations, together, strict=True):
        packed = pack(image, segmentation, embedder.context)
        for i in range(len(packed)):
            alone = PackedSegments(packed[i], packed.sizes[i : i + 1], np.array([0, len(packed[i])]))
            vector = embedder.encode(alone)
            assert np.abs(vector - vectors[i]).max() < 1e-5
            decoded = embedder.decode(vectors, packed.sizes)[i]
            assert np.abs(embedder.decode(vectors[i : i + 1], alone.sizes).pixels - decoded).max() < 1e-5


def test_an_empty_batch_gives_nothing(folder):
    assert SeqAEEmbedder.from_pretrained(folder, runtime="onnx").embed_batch([], []) == []


def test_an_autoregressive_network_runs_in_torch(tmp_path, scenes):
    torch.manual_seed(0)
    options = SMALL | {"decoder": "autoregressive", "cosines": 0, "learned_positions": True}
    model = SeqAE(SeqAEConfig(**options))
    model.save_pretrained(tmp_path)
    assert [path.name for path in export_onnx(model, tmp_path)] == ["encoder.onnx"]
    embedder = SeqAEEmbedder.from_pretrained(tmp_path)
    image, segmentation = scenes[0][2], scenes[1][2]
    picture = embedder.reconstruct(embedder.embed(image, segmentation), segmentation.boxes, segmentation.size_hw)
    assert picture.shape == image.shape


@pytest.mark.parametrize(("change", "message"), [({"layout_version": 9}, "layout_version 9"), ({"model_type": "vit"}, "SeqAE")])
def test_other_weights_are_refused(folder, tmp_path, change, message):
    config = json.loads((folder / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "encoder.onnx").write_bytes((folder / "encoder.onnx").read_bytes())
    with pytest.raises(WeightsError, match=message):
        SeqAEEmbedder.from_pretrained(tmp_path)
