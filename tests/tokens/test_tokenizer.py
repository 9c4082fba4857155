"""``SubobjectTokenizer`` with the shipped weights and with light members."""

import numpy as np
import pytest
from PIL import Image

from subobject import SubobjectTokenizer, segment
from subobject.tokens.tokenizer import TokenizerConfig


@pytest.fixture(scope="module")
def shipped() -> SubobjectTokenizer:
    return SubobjectTokenizer.from_pretrained(runtime="onnx")


@pytest.fixture
def light() -> SubobjectTokenizer:
    return SubobjectTokenizer.from_pretrained(segmenter="gradient", embedder="mean-colour")


def test_a_batch_of_any_kinds_and_sizes_is_packed(shipped, photos, blocks):
    tokens = shipped([photos / "chelsea.png", Image.fromarray(blocks), blocks[:1, :1]], max_tokens=32)
    assert tokens.offsets.tolist() == [0, 32, 32 + tokens[1].num_tokens, 33 + tokens[1].num_tokens]
    assert tokens.vectors.shape == (tokens.num_tokens, shipped.embedder.dim)
    assert tokens[0].segmentation.size_hw == (300, 451)
    vectors, mask = tokens.padded()
    assert np.array_equal(vectors[mask], tokens.vectors)


def test_a_batch_equals_its_images_one_at_a_time(shipped, photos, blocks):
    together = shipped([photos / "chelsea.png", blocks], max_tokens=24)
    for i, image in enumerate([photos / "chelsea.png", blocks]):
        alone = shipped(image, max_tokens=24)
        assert np.array_equal(alone.boxes, together[i].boxes)
        assert np.abs(alone.vectors - together[i].vectors).max() < 1e-4


def test_decoding_keeps_more_of_a_photograph_than_one_colour_does(shipped, photos):
    image = np.asarray(Image.open(photos / "coffee.png").convert("RGB")).astype(float)
    (picture,) = shipped.decode(shipped(photos / "coffee.png", max_tokens=100))
    assert picture.shape == image.shape
    assert picture.dtype == np.uint8
    error = np.mean((picture - image) ** 2)
    assert error < 0.25 * np.mean((image - image.mean(axis=(0, 1))) ** 2)


def test_saving_and_loading_gives_the_same_tokens(shipped, photos, tmp_path):
    shipped.save_pretrained(tmp_path / "saved")
    again = SubobjectTokenizer.from_pretrained(tmp_path / "saved", runtime="onnx")
    ours, theirs = (one(photos / "chelsea.png", max_tokens=16) for one in (shipped, again))
    assert np.array_equal(ours.vectors, theirs.vectors)
    assert np.array_equal(ours.segmentation.labels, theirs.segmentation.labels)


def test_torch_and_onnx_agree(shipped, photos):
    pytest.importorskip("torch")
    other = SubobjectTokenizer.from_pretrained(runtime="torch")
    ours, theirs = (one(photos / "chelsea.png", max_tokens=48) for one in (shipped, other))
    assert np.mean(ours.segmentation.labels == theirs.segmentation.labels) > 0.99


def test_both_bounds_hold(light, photos):
    tokens = light(photos / "chelsea.png", max_tokens=40, threshold=0.2)
    assert tokens.num_tokens <= 40
    assert light(photos / "chelsea.png", threshold=1.0).num_tokens <= light(photos / "chelsea.png", threshold=0.1).num_tokens


def test_the_default_budget_is_the_configured_one(light, photos):
    assert light(photos / "chelsea.png").num_tokens == TokenizerConfig().max_tokens


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"threshold": 2}, "threshold is 2"),
        ({"threshold": float("nan")}, "threshold is nan"),
    ],
)
def test_bad_budgets_are_refused(light, blocks, options, message):
    with pytest.raises(ValueError, match=message):
        light(blocks, **options)


def test_the_merge_order_is_configured_and_saved(light, photos, tmp_path):
    plain = SubobjectTokenizer.from_pretrained(segmenter="gradient", embedder="mean-colour", merge_order="strength")
    plain.save_pretrained(tmp_path)
    again = SubobjectTokenizer.from_pretrained(tmp_path)
    assert again.settings()["merge_order"] == "strength"
    tokens = plain(photos / "chelsea.png", max_tokens=20)
    assert np.array_equal(again(photos / "chelsea.png", max_tokens=20).boxes, tokens.boxes)
    assert not np.array_equal(light(photos / "chelsea.png", max_tokens=20).boxes, tokens.boxes)
    with pytest.raises(ValueError, match="merge order"):
        SubobjectTokenizer.from_pretrained(merge_order="alphabetical")


def test_the_weight_of_colours_is_configured_and_saved(light, photos, tmp_path):
    plain = SubobjectTokenizer.from_pretrained(segmenter="gradient", embedder="mean-colour", colour_weight=0.5)
    plain.save_pretrained(tmp_path)
    again = SubobjectTokenizer.from_pretrained(tmp_path)
    assert again.settings()["colour_weight"] == 0.5
    tokens = plain(photos / "chelsea.png", max_tokens=20)
    assert np.array_equal(again(photos / "chelsea.png", max_tokens=20).boxes, tokens.boxes)
    assert not np.array_equal(light(photos / "chelsea.png", max_tokens=20).boxes, tokens.boxes)
    with pytest.raises(ValueError, match="colour_weight is -1"):
        SubobjectTokenizer.from_pretrained(colour_weight=-1)


def test_tokens_of_another_embedder_are_refused(shipped, light, blocks):
    with pytest.raises(ValueError, match="decode them with the embedder that made them"):
        shipped.decode(light(blocks))


def test_a_folder_that_is_no_tokenizer_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no config\.json"):
        SubobjectTokenizer.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "subobject_tokenizer", "magic": 1}')
    with pytest.raises(ValueError, match="unknown key 'magic'"):
        SubobjectTokenizer.from_pretrained(tmp_path)


def test_push_to_hub_uploads_what_from_pretrained_reads(light, monkeypatch, tmp_path, blocks):
    hub = pytest.importorskip("huggingface_hub")
    seen = {}

    class FakeApi:
        def __init__(self, token=None):
            pass

        def create_repo(self, repo_id, exist_ok, **options):
            seen["repo"] = repo_id

        def upload_folder(self, repo_id, folder_path):
            import shutil

            shutil.copytree(folder_path, tmp_path / "hub")

    monkeypatch.setattr(hub, "HfApi", FakeApi)
    light.push_to_hub("me/tokens")
    assert seen == {"repo": "me/tokens"}
    again = SubobjectTokenizer.from_pretrained(tmp_path / "hub")
    assert np.array_equal(again(blocks).vectors, light(blocks).vectors)


def test_segment_gives_the_finest_partition_and_its_tree(photos):
    finest = segment(photos / "chelsea.png", segmenter="gradient")
    assert finest.num_segments > 400
    assert finest.cut(max_segments=32).num_segments == 32
    assert segment(photos / "chelsea.png", segmenter="gradient", max_segments=32).num_segments == 32
