"""``subobject caption``: small captioners on images that are easy, empty or crowded."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from subobject import weights
from subobject.cli.main import app

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import LlamaConfig  # noqa: E402

from subobject.language.captioner import Captioner  # noqa: E402
from subobject.language.modeling import SubobjectForCausalLM  # noqa: E402
from subobject.language.origin import Origin  # noqa: E402
from subobject.language.processing import SubobjectProcessor  # noqa: E402
from subobject.language.words import word_tokenizer  # noqa: E402
from subobject.tokens.tokenizer import SubobjectTokenizer, TokenizerConfig  # noqa: E402

CONTEXT, ANSWER = 64, 7


@pytest.fixture
def folder(tmp_path):
    """A captioner with a context of 64 tokens, saved in a folder."""
    images = TokenizerConfig(segmenter="tiles", embedder="mean-colour", max_tokens=16)
    processor = SubobjectProcessor(word_tokenizer(["Total 3 objects: a small red cube."], CONTEXT), images)
    config = LlamaConfig(
        vocab_size=len(processor.tokenizer),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=CONTEXT,
    )
    torch.manual_seed(0)
    model = SubobjectForCausalLM.from_language_model(
        config, processor.tokenizer, vector_size=processor.image_tokenizer.embedder.dim
    )
    model.generation_config.max_new_tokens = ANSWER
    model.save_pretrained(tmp_path / "captioner")
    processor.save_pretrained(tmp_path / "captioner")
    return tmp_path / "captioner"


def run(*arguments: object):
    return CliRunner().invoke(app, ["caption", *map(str, arguments)])


def save(path, pixels):
    Image.fromarray(pixels).save(path)
    return path


def test_every_image_gets_a_line(folder, tmp_path, blocks):
    first, second = save(tmp_path / "a.png", blocks), save(tmp_path / "b.png", blocks[::-1].copy())
    result = run(first, second, "--model", folder, "--json")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["image"] for line in lines] == [str(first), str(second)]
    assert all(isinstance(line["caption"], str) and 1 <= line["tokens"] <= 16 for line in lines)
    assert set(lines[0]["seconds"]) >= {"read", "segments", "embeddings", "text"}
    text = run(first, "--model", folder)
    assert text.stdout == f"{first}: {lines[0]['caption']}\n"


@pytest.mark.parametrize("size", [(1, 1), (40, 60)])
def test_an_image_without_segments_is_described(size, folder, tmp_path):
    picture = save(tmp_path / "flat.png", np.full((*size, 3), 127, dtype=np.uint8))
    config = folder / "image_tokenizer" / "config.json"
    config.write_text(config.read_text().replace("tiles", "gradient"))
    result = run(picture, "--model", folder, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["tokens"] == 1


def test_a_budget_of_one_is_met(folder, tmp_path, blocks):
    picture = save(tmp_path / "a.png", blocks.repeat(3, axis=0))
    assert Captioner.from_pretrained(folder).processor.image_tokenizer(picture).num_tokens > 1
    result = run(picture, "--model", folder, "--json", "--max-tokens", 1)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["tokens"] == 1


def test_the_threshold_of_the_training_holds_beside_a_budget(folder, tmp_path, blocks):
    config = folder / "image_tokenizer" / "config.json"
    config.write_text(config.read_text().replace("tiles", "gradient"))
    picture = save(tmp_path / "a.png", blocks)
    counts = []
    for threshold in ("null", "1.0"):
        config.write_text(config.read_text().replace('"threshold": null', f'"threshold": {threshold}'))
        for budget in ([], ["--max-tokens", 9]):
            counts.append(json.loads(run(picture, "--model", folder, "--json", *budget).stdout)["tokens"])
    coarse = SubobjectTokenizer.from_pretrained(segmenter="gradient", embedder="mean-colour")(blocks, threshold=1.0).num_tokens
    assert counts[0] == counts[1] > coarse
    assert counts[2:] == [coarse, coarse]


def test_thousands_of_segments_are_merged_into_the_context(folder, tmp_path):
    captioner = Captioner.from_pretrained(folder)
    pixels = np.random.default_rng(0).integers(0, 256, (65, 80, 3), dtype=np.uint8).repeat(32, axis=0).repeat(32, axis=1)
    assert captioner.processor.image_tokenizer.segment(pixels, max_tokens=10**6).num_segments >= 5000
    for budget in ([], ["--max-tokens", 5000]):
        result = run(save(tmp_path / "a.png", pixels), "--model", folder, "--json", *budget)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["tokens"] == (CONTEXT - 2 - ANSWER if budget else 16)


def test_a_broken_image_costs_only_itself(folder, tmp_path, blocks):
    good = save(tmp_path / "a.png", blocks)
    (tmp_path / "b.png").write_bytes(b"no picture")
    result = run(good, tmp_path / "b.png", "--model", folder, "--json")
    assert result.exit_code == 1
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert "caption" in first
    assert "b.png" in second["error"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "nowhere"], "unknown weights 'nowhere'"),
        (["--max-tokens", "0"], "max_tokens is 0"),
        (["--device", "mps"], "no mps device"),
    ],
)
def test_wrong_options_get_one_sentence(options, message, folder, tmp_path, blocks):
    picture = save(tmp_path / "a.png", blocks)
    result = run(picture, *(["--model", folder] if "--model" not in options else []), *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_prompt_that_fills_the_context_is_refused(folder, tmp_path, blocks):
    config = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(config | {"max_new_tokens": CONTEXT}))
    result = run(save(tmp_path / "a.png", blocks), "--model", folder)
    assert result.exit_code == 2
    assert "no room for an image" in result.stderr


def test_it_says_what_it_was_trained_on(folder, tmp_path, blocks):
    processor = SubobjectProcessor.from_pretrained(folder)
    processor.trained_on = Origin.of_tokens("7 drawings", processor.image_tokenizer.settings())
    processor.save_pretrained(folder)
    result = run(save(tmp_path / "a.png", blocks), save(tmp_path / "b.png", blocks), "--model", folder, "--json")
    assert result.stderr == f"{folder} was trained on 7 drawings and on nothing else: what it says of other pictures is wrong\n"
    assert [set(json.loads(line)) for line in result.stdout.splitlines()] == [{"image", "caption", "tokens", "seconds"}] * 2


def test_missing_weights_are_said_once(folder, tmp_path, blocks):
    config = folder / "image_tokenizer" / "config.json"
    config.write_text(
        config.read_text().replace('"boundary_weights": null', '"boundary_weights": "nowhere"').replace("tiles", "directsam")
    )
    result = run(save(tmp_path / "a.png", blocks), save(tmp_path / "b.png", blocks), "--model", folder)
    assert result.exit_code == 2
    assert result.stderr.count("unknown weights 'nowhere'") == 1


def test_without_a_model_it_is_the_one_that_ships(tmp_path, blocks, monkeypatch):
    monkeypatch.setattr(weights, "ASSETS", tmp_path)
    result = run(save(tmp_path / "a.png", blocks))
    assert result.exit_code == 2
    assert result.stderr == "Error: captioner.clevr is not part of this installation: give a folder or hub id instead\n"
