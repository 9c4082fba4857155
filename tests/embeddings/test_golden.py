"""What the shipped weights answer, kept as small arrays, so that no change of code changes it unnoticed.

To renew after new weights: ``python -m tests.embeddings.test_golden``, and say so in docs/log.md. The segments are drawn by
arithmetic, and do not depend on the boundary network.
"""

from pathlib import Path

import numpy as np
import pytest

from subobject.embeddings.autoencoder import SeqAEEmbedder
from subobject.embeddings.patch import PatchEmbedder
from subobject.structures import Segmentation
from tests.embeddings.partitions import chain_tree

FOLDER = Path(__file__).parent.parent / "golden"
RELEASES = {
    "seqae.bsds500-detail": lambda: SeqAEEmbedder.from_pretrained("seqae.bsds500-detail", runtime="onnx"),
    "seqae.bsds500": lambda: SeqAEEmbedder.from_pretrained("seqae.bsds500", runtime="onnx"),
    "patch.bsds500": lambda: PatchEmbedder.from_pretrained("patch.bsds500"),
    "patch.bsds500-p16": lambda: PatchEmbedder.from_pretrained("patch.bsds500-p16"),
}


def scene() -> tuple[np.ndarray, Segmentation]:
    """A picture of shaded bands, a disc and stripes."""
    y, x = np.mgrid[:48, :64]
    disc = (y - 24) ** 2 + (x - 22) ** 2 < 200
    labels = np.where(disc, 1, np.where(x < 44, 0, np.where(y < 20, 2, 3))).astype(np.int32)
    image = np.stack([(3 * x + y) % 256, (5 * y + 40 * disc) % 256, np.where(x // 3 % 2, 200, 60)], axis=2).astype(np.uint8)
    return image, Segmentation.from_labels(labels, chain_tree(4))


def answers(name: str) -> dict[str, np.ndarray]:
    embedder, (image, segmentation) = RELEASES[name](), scene()
    vectors = embedder.embed(image, segmentation)
    picture = embedder.reconstruct(vectors, segmentation.boxes, segmentation.size_hw)
    return {"vectors": vectors[:, :32], "picture": picture[::4, ::4]}


@pytest.mark.parametrize("name", RELEASES)
def test_shipped_weights_answer_as_before(name):
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as expected:
        found = answers(name)
        assert np.abs(found["vectors"] - expected["vectors"]).max() < 1e-3
        assert np.abs(found["picture"].astype(int) - expected["picture"]).max() <= 1


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in RELEASES:
        np.savez_compressed(FOLDER / f"{name}.npz", **answers(name))
