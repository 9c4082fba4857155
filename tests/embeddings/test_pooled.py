"""Pooled features of tiny random checkpoints of every family, and several embedders joined."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import transformers  # noqa: E402

from subobject.embeddings.joined import JoinedEmbedder  # noqa: E402
from subobject.embeddings.mean_colour import MeanColour  # noqa: E402
from subobject.embeddings.patch import PatchEmbedder  # noqa: E402
from subobject.embeddings.pooled import PooledEmbedder, PooledOptions  # noqa: E402
from subobject.geometry import to_token_boxes  # noqa: E402
from subobject.weights import WeightsError  # noqa: E402
from tests.embeddings.partitions import random_partition  # noqa: E402

VIT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 48, "patch_size": 8}
FEED = VIT | {"intermediate_size": 16}
TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 20}
STAGES = {"hidden_sizes": [4, 8], "depths": [1, 1]}


def clip(kind: str):
    config = getattr(transformers, f"{kind}Config")
    return getattr(transformers, f"{kind}Model")(config(text_config=TEXT, vision_config=FEED))


FAMILIES = {
    "dinov2": (lambda: transformers.Dinov2Model(transformers.Dinov2Config(**VIT)), 16, 8),
    "dinov2-registers": (
        lambda: transformers.Dinov2WithRegistersModel(transformers.Dinov2WithRegistersConfig(**VIT, num_register_tokens=3)),
        16,
        8,
    ),
    "clip": (lambda: clip("CLIP"), 16, 8),
    "clip-vision": (lambda: transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**FEED)), 16, 8),
    "siglip": (lambda: clip("Siglip"), 16, 8),
    "vit": (lambda: transformers.ViTModel(transformers.ViTConfig(**FEED), add_pooling_layer=False), 16, 8),
    "convnext": (lambda: transformers.ConvNextModel(transformers.ConvNextConfig(num_stages=2, **STAGES)), 8, 8),
    "resnet": (
        lambda: transformers.ResNetModel(transformers.ResNetConfig(embedding_size=4, layer_type="basic", **STAGES)),
        8,
        8,
    ),
    "swin": (
        lambda: transformers.SwinModel(
            transformers.SwinConfig(image_size=48, embed_dim=8, depths=[1, 1], num_heads=[1, 1], window_size=3)
        ),
        16,
        8,
    ),
}


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(0)
    segmentation = random_partition(rng, 33, 50, 9)
    return rng.integers(0, 256, (33, 50, 3), dtype=np.uint8), segmentation


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("dinov2")
    FAMILIES["dinov2"][0]().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_a_vector_a_segment(family, scene, tmp_path):
    torch.manual_seed(0)
    build, channels, stride = FAMILIES[family]
    build().save_pretrained(tmp_path)
    embedder = PooledEmbedder.from_pretrained(tmp_path, shape=4, resolution=48)
    image, segmentation = scene
    assert embedder.backbone.channels == channels
    assert embedder.backbone.stride == stride
    assert embedder.input_size((33, 50)) == (32, 48)
    assert embedder.features(image).shape == (channels, 4, 6)
    vectors = embedder.embed(image, segmentation)
    assert vectors.shape == (segmentation.num_segments, embedder.dim) == (segmentation.num_segments, channels + 4 + 16)
    assert vectors.dtype == np.float32
    assert np.allclose(vectors[:, channels : channels + 4], to_token_boxes(segmentation.boxes, (33, 50)))
    assert np.std(vectors[:, :channels], axis=0).max() > 1e-4


def test_a_vae_gives_its_latent_means(scene, tmp_path):
    diffusers = pytest.importorskip("diffusers")
    vae = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(4, 4, 4),
        norm_num_groups=2,
        latent_channels=4,
        sample_size=48,
    )
    vae.save_pretrained(tmp_path, safe_serialization=True)
    embedder = PooledEmbedder.from_pretrained(tmp_path, box=False, shape=0)
    assert embedder.features(scene[0]).shape == (4, 8, 12)
    assert embedder.embed(*scene).shape == (scene[1].num_segments, 4)


def test_patch_tokens_and_cells_lie_at_the_same_place(dinov2):
    """One cell of the image is painted; its own token changes most, wherever class tokens stand."""
    embedder = PooledEmbedder.from_pretrained(dinov2, resolution=48)
    image = np.full((48, 48, 3), 90, np.uint8)
    before = embedder.features(image)
    image[8:16, 32:40] = (255, 0, 40)
    change = np.abs(embedder.features(image) - before).sum(axis=0)
    assert np.unravel_index(change.argmax(), change.shape) == (1, 4)


def test_normalisation_comes_with_the_weights(dinov2, scene, tmp_path):
    plain = PooledEmbedder.from_pretrained(dinov2)
    assert plain.backbone.mean == (0.485, 0.456, 0.406)
    plain.save_pretrained(tmp_path)
    (tmp_path / "backbone" / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5], "image_std": [1, 1, 1]}')
    other = PooledEmbedder.from_pretrained(tmp_path)
    assert (other.backbone.mean, other.backbone.std) == ((0.5, 0.5, 0.5), (1, 1, 1))
    assert not np.allclose(plain.embed(*scene), other.embed(*scene), atol=1e-3)


def plain_folder(folder):
    """An encoder opened with options is not what its folder alone gives."""
    assert PooledEmbedder.from_pretrained(folder, pool="max").folder is None
    return PooledEmbedder.from_pretrained(folder).folder


def test_saving_keeps_the_options(dinov2, scene, tmp_path):
    ours = PooledEmbedder.from_pretrained(dinov2, pool="gem", power=2.0, shape=3, box=False, resolution=40)
    ours.save_pretrained(tmp_path)
    again = PooledEmbedder.from_pretrained(tmp_path)
    assert again.options == ours.options
    assert (plain_folder(dinov2), ours.folder, again.folder) == (dinov2, tmp_path, tmp_path)
    assert np.array_equal(again.embed(*scene), ours.embed(*scene))
    assert PooledEmbedder.from_pretrained(tmp_path, pool="max").options.pool == "max"


def test_pooled_features_do_not_decode(dinov2, scene):
    embedder = PooledEmbedder.from_pretrained(dinov2)
    with pytest.raises(ValueError, match="do not decode to pixels"):
        embedder.reconstruct(embedder.embed(*scene), scene[1].boxes, (33, 50))
    with pytest.raises(ValueError, match="do not decode to pixels"):
        embedder.decode_crops(embedder.embed(*scene), scene[1].boxes)


def test_mistakes_get_a_sentence(dinov2, tmp_path):
    with pytest.raises(ValueError, match="name its folder or hub id"):
        PooledEmbedder.from_pretrained()
    with pytest.raises(ValueError, match="unknown option of pooled features 'pooling'"):
        PooledEmbedder.from_pretrained(dinov2, pooling="max")
    with pytest.raises(ValueError, match="unknown pooling 'sum'"):
        PooledOptions(pool="sum")
    with pytest.raises(ValueError, match="positive power"):
        PooledOptions(power=0)
    transformers.GPT2Model(transformers.GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=9)).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="does not describe an image encoder"):
        PooledEmbedder.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "no-such-model"}')
    with pytest.raises(WeightsError, match="transformers can read"):
        PooledEmbedder.from_pretrained(tmp_path)


@pytest.fixture
def joined(dinov2):
    patches = PatchEmbedder(np.eye(12, dtype=np.float32)[:7], np.full(12, 0.5, np.float32))
    return JoinedEmbedder([PooledEmbedder.from_pretrained(dinov2), patches, MeanColour()])


def test_joined_vectors_stand_behind_each_other(joined, scene):
    vectors = joined.embed(*scene)
    assert joined.dim == vectors.shape[1] == 16 + 4 + 64 + 7 + 67
    assert np.array_equal(vectors, np.concatenate([one.embed(*scene) for one in joined.members], axis=1))
    assert np.array_equal(joined.embed_batch([scene[0]] * 2, [scene[1]] * 2)[1], vectors)


def test_joined_vectors_decode_by_the_first_member_that_does(joined, scene):
    image, segmentation = scene
    patches = joined.members[1]
    ours = joined.reconstruct(joined.embed(*scene), segmentation.boxes, image.shape[:2])
    assert np.array_equal(ours, patches.reconstruct(patches.embed(*scene), segmentation.boxes, image.shape[:2]))
    alone = JoinedEmbedder(joined.members[:1])
    assert not alone.decodes
    with pytest.raises(ValueError, match="none of the joined embedders decodes"):
        alone.reconstruct(alone.embed(*scene), segmentation.boxes, image.shape[:2])


def test_joined_embedders_are_saved_with_their_members(joined, scene, tmp_path):
    joined.save_pretrained(tmp_path)
    entries = json.loads((tmp_path / "config.json").read_text())["members"]
    assert [entry["embedder"] for entry in entries] == ["pooled", "patch", "mean-colour"]
    again = JoinedEmbedder.from_pretrained(tmp_path)
    assert np.allclose(again.embed(*scene), joined.embed(*scene), atol=1e-6)


def test_joining_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no embedder to join"):
        JoinedEmbedder([])
    with pytest.raises(ValueError, match="need a folder"):
        JoinedEmbedder.from_pretrained()
    with pytest.raises(WeightsError, match=r"holds no config\.json"):
        JoinedEmbedder.from_pretrained(tmp_path)
