"""``subobject caption``: small captioners on images that are easy, empty or crowded."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from subobject.cli.main import app

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import LlamaConfig  # noqa: E402

from subobject.language.captioner import Captioner  # noqa: E402
from subobject.language.modeling import SubobjectForCausalLM  # noqa: E402
from subobject.language.processing import SubobjectProcessor  # noqa: E402
from subobject.language.words import word_tokenizer  # noqa: E402
from subobject.tokens.tokenizer import TokenizerConfig  # noqa: E402

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
    result = run(picture, "--model", folder, "--json", "--max-tokens", 1)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["tokens"] == 1


def test_thousands_of_segments_are_merged_into_the_context(folder):
    captioner = Captioner.from_pretrained(folder)
    pixels = np.random.default_rng(0).integers(0, 256, (2080, 2560, 3), dtype=np.uint8)
    assert captioner.processor.image_tokenizer.segment(pixels, max_tokens=10**6).num_segments >= 5000
    description = captioner(pixels, max_tokens=5000)
    assert description.tokens == captioner.budget() == CONTEXT - 2 - ANSWER


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


def test_the_help_says_that_no_captioner_ships():
    text = " ".join(run("--help").stdout.split())
    assert "No captioner ships yet" in text
