"""The contract of every embedder, and the mean-colour member."""

import subprocess
import sys

import numpy as np
import pytest

from subobject.embeddings import EMBEDDERS
from subobject.embeddings.joined import JoinedEmbedder
from subobject.embeddings.mean_colour import MeanColour
from subobject.embeddings.patch import PatchEmbedder
from subobject.embeddings.sequence import paint
from subobject.structures import Segmentation
from subobject.tokens.tokenizer import load_embedder
from tests.embeddings.partitions import chain_tree, random_partition


def make_seqae(tmp_path):
    torch = pytest.importorskip("torch")
    from subobject.embeddings.seqae import SeqAE, SeqAEConfig

    torch.manual_seed(0)
    shape = {"width": 40, "heads": 2, "hidden": 40, "encoder_layers": 1, "decoder_layers": 1}
    SeqAE(SeqAEConfig(**shape, context=100, cosines=4, vector=64)).save_pretrained(tmp_path)


def make_pooled(tmp_path):
    pytest.importorskip("torch")
    from transformers import ConvNextConfig, ConvNextModel

    ConvNextModel(ConvNextConfig(num_stages=2, hidden_sizes=[4, 8], depths=[1, 1])).save_pretrained(tmp_path)


def make_joined(tmp_path):
    JoinedEmbedder([MeanColour(), PatchEmbedder.from_pretrained()]).save_pretrained(tmp_path)


WEIGHTS = {"seqae": make_seqae, "pooled": make_pooled, "joined": make_joined}


@pytest.fixture
def embedder(request, tmp_path):
    """A member of the table, with tiny weights where it needs some."""
    name = request.param
    if name in WEIGHTS:
        WEIGHTS[name](tmp_path)
    return load_embedder(name, str(tmp_path) if name in WEIGHTS else None)


@pytest.mark.parametrize("embedder", EMBEDDERS, indirect=True)
def test_contract(embedder, request):
    rng = np.random.default_rng(0)
    segmentations = [random_partition(rng, *size) for size in [(30, 41, 12), (1, 1, 1), (1, 90, 3), (8, 5, 7)]]
    images = [rng.integers(0, 256, (*one.size_hw, 3), dtype=np.uint8) for one in segmentations]
    assert embedder.name == request.node.callspec.params["embedder"]
    assert embedder.embed_batch([], []) == []
    together = embedder.embed_batch(images, segmentations)
    for image, segmentation, vectors in zip(images, segmentations, together, strict=True):
        assert vectors.shape == (segmentation.num_segments, embedder.dim)
        assert vectors.dtype == np.float32
        assert np.abs(vectors - embedder.embed(image, segmentation)).max() < 1e-5
        if not embedder.decodes:
            with pytest.raises(ValueError, match="do not decode"):
                embedder.reconstruct(vectors, segmentation.boxes, segmentation.size_hw)
            continue
        picture = embedder.reconstruct(vectors, segmentation.boxes, segmentation.size_hw)
        assert picture.shape == image.shape
        assert picture.dtype == np.uint8
        crops = embedder.decode_crops(vectors, segmentation.boxes)
        assert len(crops) == segmentation.num_segments
        assert np.array_equal(paint(crops, segmentation.boxes, segmentation.size_hw), picture)


@pytest.mark.parametrize("embedder", [name for name in EMBEDDERS if name != "pooled"], indirect=True)
def test_flat_segments_come_back_near_their_colour(embedder, blocks):
    labels = np.zeros((40, 60), dtype=np.int32)
    labels[20:] += 2
    labels[:, 30:] += 1
    segmentation = Segmentation.from_labels(labels, chain_tree(4))
    picture = embedder.reconstruct(embedder.embed(blocks, segmentation), segmentation.boxes, (40, 60))
    assert np.abs(picture.astype(int) - blocks).mean() < (40 if embedder.name == "seqae" else 1.5)


def test_importing_the_table_loads_nothing_heavy():
    code = "import sys, subobject.embeddings; print([m for m in ('torch', 'numba', 'cv2', 'transformers') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_mean_colour_holds_colour_and_shape():
    labels = np.zeros((16, 16), dtype=np.int32)
    labels[:, 4:] = 1
    labels[:8, 8:] = 0
    labels[0] = 0
    image = np.where(labels[..., None] == 1, [255, 0, 51], [0, 102, 0]).astype(np.uint8)
    segmentation = Segmentation.from_labels(labels, chain_tree(2))
    vectors = MeanColour().embed(image, segmentation)
    assert np.allclose(vectors[:, :3], [[0, 0.4, 0], [1, 0, 0.2]], atol=1e-6)
    shape = vectors[0, 3:].reshape(8, 8)
    assert np.allclose(shape[0, 2:4], 0.5)
    assert np.allclose(shape[4:, 2:], 0)
    assert np.allclose(shape[:, :2], 1)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (7, 8), (9, 20)])
def test_the_shape_code_keeps_the_area(size):
    segmentation = random_partition(np.random.default_rng(1), *size, 4)
    vectors = MeanColour().embed(np.zeros((*size, 3), np.uint8), segmentation)
    boxes = segmentation.boxes
    box_areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    assert np.allclose(vectors[:, 3:].mean(axis=1) * box_areas, segmentation.areas, rtol=1e-5)
