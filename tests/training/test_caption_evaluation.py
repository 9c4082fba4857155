"""Evaluation of tiny random language models on made-up CLEVR images: the driver, not the quality."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import AutoConfig  # noqa: E402

from subobject.cli.main import app  # noqa: E402
from subobject.data.captions import caption  # noqa: E402
from subobject.data.clevr import COLOURS, MATERIALS, SHAPES, SIZES, read_clevr  # noqa: E402
from subobject.language.captioner import Captioner  # noqa: E402
from subobject.language.modeling import SubobjectForCausalLM  # noqa: E402
from subobject.language.origin import Origin  # noqa: E402
from subobject.language.processing import SubobjectProcessor  # noqa: E402
from subobject.language.words import word_tokenizer  # noqa: E402
from subobject.tokens.store import TokenStore, TokenWriter  # noqa: E402
from subobject.tokens.tokenizer import SubobjectTokenizer, TokenizerConfig  # noqa: E402
from subobject.training.caption_evaluation import cut_tokens, model_cost, predict, stored_tokens, summarise  # noqa: E402

IMAGES = 5
COUNTS = [3, 4, 5, 6, 2]
"""Tokens of each image: unequal, so that batches are padded."""
TOKENIZER = TokenizerConfig(segmenter="gradient", embedder="mean-colour", max_tokens=6)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Five images in the official layout, each with two objects."""
    folder = tmp_path_factory.mktemp("clevr")
    random = np.random.default_rng(0)
    (folder / "images" / "val").mkdir(parents=True)
    (folder / "scenes").mkdir()
    scenes = []
    for i in range(IMAGES):
        name = f"CLEVR_val_{i:06d}.png"
        Image.fromarray(random.integers(0, 255, (32, 40, 3), dtype=np.uint8)).save(folder / "images" / "val" / name)
        objects = [
            {
                "size": SIZES[(i + k) % 2],
                "color": COLOURS[i + k],
                "material": MATERIALS[k],
                "shape": SHAPES[(i + k) % 3],
                "pixel_coords": [10 + 10 * k, 5, 9.0],
            }
            for k in range(2)
        ]
        scenes.append({"image_index": i, "image_filename": name, "objects": objects})
    (folder / "scenes" / "CLEVR_val_scenes.json").write_text(json.dumps({"info": {}, "scenes": scenes}))
    return folder


@pytest.fixture(scope="module")
def store(data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    tokenizer = SubobjectTokenizer.from_pretrained(segmenter="gradient", embedder="mean-colour", max_tokens=6)
    with TokenWriter(folder, tokenizer.settings()) as writer:
        for image, count in zip(read_clevr(data, "val"), COUNTS, strict=True):
            writer.write(image.image_path.name, tokenizer([image.image_path], max_tokens=count))
    return folder


@pytest.fixture(scope="module")
def captioner(data, store) -> Captioner:
    torch.manual_seed(0)
    captions = [caption(image) for image in read_clevr(data, "val")]
    processor = SubobjectProcessor(word_tokenizer(captions, max_length=96), TOKENIZER)
    config = AutoConfig.for_model(
        "llama",
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=96,
        vocab_size=len(processor.tokenizer),
        tie_word_embeddings=True,
        bos_token_id=None,
    )
    size = TokenStore.open(store).manifest.vector_size
    model = SubobjectForCausalLM.from_language_model(config, processor.tokenizer, vector_size=size).eval()
    model.generation_config.max_new_tokens = 24
    return Captioner(model, processor)


def predictions(captioner, data, store, batch_size):
    images = read_clevr(data, "val")
    return list(predict(captioner, images, stored_tokens(TokenStore.open(store), images), batch_size=batch_size))


def test_batches_change_nothing(captioner, data, store):
    one_by_one, together = (predictions(captioner, data, store, size) for size in (1, 4))
    assert [one.text for one in one_by_one] == [one.text for one in together]
    assert [one.loss for one in one_by_one] == pytest.approx([one.loss for one in together], rel=1e-4)
    assert [one.image_tokens for one in together] == COUNTS
    assert [one.prompt_tokens for one in together] == [count + 2 for count in COUNTS]


def test_the_loss_is_that_of_the_true_caption(captioner, data, store):
    """Sum over the caption's tokens and the end, of the model's own mean loss."""
    images = read_clevr(data, "val")
    found = predictions(captioner, data, store, 2)[3]
    tokens = TokenStore.open(store)[3].tokens
    inputs = captioner.processor(captioner.processor.prompt, tokens=tokens, targets=caption(images[3]))
    count = int((inputs["labels"] != -100).sum())
    assert found.targets == count == len(captioner.processor.tokenizer(caption(images[3]))["input_ids"]) + 1
    with torch.no_grad():
        assert found.loss == pytest.approx(float(captioner.model(**inputs).loss) * count, rel=1e-4)


def test_a_model_that_knows_its_captions_scores_one(captioner, data, store, monkeypatch):
    images = read_clevr(data, "val")
    truth = iter([caption(image) for image in images])
    monkeypatch.setattr(captioner.processor, "decode", lambda ids: f" {next(truth)} ")
    scores = summarise(captioner.model, predictions(captioner, data, store, 2), images)
    assert [scores[name] for name in ("parse_rate", "count", "size", "colour", "material", "shape", "exact")] == [1] * 7
    assert scores["tokens"] == np.mean(COUNTS)
    assert scores["images"] == IMAGES
    assert 1 < scores["perplexity"] < math.inf


def test_cost_by_hand(captioner):
    """Llama of width 32: queries and outputs 32 x 32, keys and values 32 x 16, three matrices of 32 x 48; a linear projector."""
    cost = model_cost(captioner.model)
    assert cost["weights"] == 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48)
    assert (cost["layers"], cost["attention_width"]) == (2, 32)
    assert cost["projector_weights"] == 32 * captioner.model.config.vector_size + 32 * 4


def test_images_are_cut_within_the_threshold_as_well_as_the_budget(captioner, data, monkeypatch):
    images = read_clevr(data, "val")
    budget = [one.num_tokens for one in cut_tokens(captioner, images, 6)]
    strict = SubobjectTokenizer.from_pretrained(segmenter="gradient", embedder="mean-colour", threshold=1.0)
    monkeypatch.setattr(captioner.processor, "_images", strict)
    assert budget == [6] * IMAGES
    assert [one.num_tokens for one in cut_tokens(captioner, images, 6)] == [1] * IMAGES


@pytest.fixture(scope="module")
def saved(captioner, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    captioner.model.save_pretrained(folder)
    captioner.processor.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("stored", [True, False])
def test_command(data, store, saved, tmp_path, stored):
    options = ["--tokens", str(store)] if stored else ["--max-tokens", "4"]
    output = tmp_path / "captions.jsonl"
    result = CliRunner().invoke(
        app, ["evaluate", "captions", "--data", str(data), "--model", str(saved), "--json", "-o", str(output), *options]
    )
    assert result.exit_code == 0, result.output
    scores = json.loads(result.stdout)
    assert scores["images"] == IMAGES
    assert 0 <= scores["parse_rate"] <= 1
    assert scores["tokens"] <= (6 if stored else 4)
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["image"] for line in lines] == [f"CLEVR_val_{i:06d}" for i in range(IMAGES)]
    assert lines[0]["caption"] == caption(read_clevr(data, "val")[0])


def test_stored_tokens_of_any_number_are_described(data, saved, tmp_path):
    """One segment, a budget of one, and over 5,000 segments, far more than the context of 96."""
    tokenizer = SubobjectTokenizer.from_pretrained(segmenter="patches", embedder="mean-colour")
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    made = [
        SubobjectTokenizer.from_pretrained(segmenter="gradient", embedder="mean-colour")(noise * 0 + 127),
        tokenizer(noise, max_tokens=1),
        tokenizer(noise, max_tokens=71 * 71),
    ]
    counts = [tokens.num_tokens for tokens in made]
    assert counts == [1, 1, 71 * 71]
    with TokenWriter(tmp_path / "store", tokenizer.settings()) as writer:
        for image, tokens in zip(read_clevr(data, "val"), made, strict=False):
            writer.write(image.image_path.name, tokens)
    output = tmp_path / "captions.jsonl"
    options = ["--tokens", str(tmp_path / "store"), "--limit", "3", "--batch-size", "2", "-o", str(output)]
    result = CliRunner().invoke(app, ["evaluate", "captions", "--data", str(data), "--model", str(saved), "--json", *options])
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["image_tokens"] for line in lines] == counts
    assert all(math.isfinite(line["loss"]) for line in lines)


def test_stored_tokens_of_other_weights_get_a_warning(data, store, saved, tmp_path, caplog):
    processor = SubobjectProcessor.from_pretrained(saved)
    processor.trained_on = Origin("drawings", embedder_sha256="0" * 64)
    shutil.copytree(saved, tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    options = ["--model", str(tmp_path / "model"), "--tokens", str(store), "--limit", "1"]
    result = CliRunner().invoke(app, ["evaluate", "captions", "--data", str(data), *options])
    assert result.exit_code == 0, result.output
    assert [one.getMessage()[:37] for one in caplog.records] == ["the tokens come from another embedder"]


def test_wrong_options_get_one_sentence(data, store, saved, tmp_path):
    def message(*options):
        result = CliRunner().invoke(app, ["evaluate", "captions", "--data", str(data), "--model", str(saved), *options])
        assert result.exit_code == 2
        return result.stderr

    assert "--max-tokens is for images that are cut anew" in message("--tokens", str(store), "--max-tokens", "3")
    assert "--batch-size is 0" in message("--batch-size", "0")
    assert "the limit is 0" in message("--limit", "0")
    assert "does not hold the CLEVR split 'test'" in message("--split", "test")
    with TokenWriter(tmp_path / "less", TokenStore.open(store).settings) as writer:
        name, tokens = TokenStore.open(store)[0]
        writer.write(name, tokens)
    assert "lacks 4 of 5 images" in message("--tokens", str(tmp_path / "less"))
