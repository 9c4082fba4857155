"""``benchmarks/export_release.py``: tiny networks become releases, and the command uses them at once."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LlamaConfig
from typer.testing import CliRunner

from subobject import weights
from subobject.boundaries.network import BoundaryNet, BoundaryNetConfig
from subobject.cli.main import app
from subobject.embeddings.seqae import SeqAE, SeqAEConfig
from subobject.language.modeling import SubobjectForCausalLM
from subobject.language.processing import SubobjectProcessor
from subobject.language.words import word_tokenizer
from subobject.tokens import tokenizer as tokenizers
from subobject.tokens.tokenizer import SubobjectTokenizer, TokenizerConfig

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def assets(tmp_path, monkeypatch) -> Path:
    """Assets without releases."""
    folder = tmp_path / "assets"
    folder.mkdir()
    monkeypatch.setattr(weights, "ASSETS", folder)
    monkeypatch.setattr(tokenizers, "ASSETS", folder)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return folder


@pytest.fixture
def runs(tmp_path) -> Path:
    """Folders with the final weights of a boundary network and an embedder, in float32."""
    torch.manual_seed(0)
    BoundaryNet(BoundaryNetConfig(channels=(4, 6), blocks=(1, 1), width=4)).save_pretrained(tmp_path / "boundaries")
    shape = {"context": 64, "width": 16, "hidden": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "vector": 8}
    SeqAE(SeqAEConfig(**shape, cosines=4)).save_pretrained(tmp_path / "seqae")
    return tmp_path


def release(name: str, final: Path, monkeypatch) -> Path:
    """Export a release as the script does, its model card already written."""
    import export_release

    folder = weights.RELEASES[name].folder
    folder.mkdir(exist_ok=True)
    (folder / "README.md").write_text(f"# {name}\n")
    monkeypatch.setattr(sys, "argv", ["export_release.py", name, str(final)])
    export_release.main()
    return folder


def train_captioner(folder: Path, boundary_weights: str) -> Path:
    """Write a random captioner as a training run leaves it."""
    images = TokenizerConfig(boundary_weights=boundary_weights, embedder_weights="seqae.bsds500", max_tokens=16, threshold=0.1)
    processor = SubobjectProcessor(word_tokenizer(["Total 3 objects: a small red cube."], 64), images)
    config = LlamaConfig(
        vocab_size=len(processor.tokenizer),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    model = SubobjectForCausalLM.from_language_model(config, processor.tokenizer, vector_size=8)
    model.projector.standardise(torch.randn(20, 8))
    model.generation_config.max_new_tokens = 5
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def test_a_captioner_is_released_and_answers(assets, runs, tmp_path, monkeypatch):
    boundaries = release("boundarynet.clevr", runs / "boundaries", monkeypatch)
    assert (boundaries / "model.onnx").is_file()
    release("seqae.bsds500", runs / "seqae", monkeypatch)
    BoundaryNet(BoundaryNetConfig(channels=(4, 6), blocks=(1, 1), width=4)).save_pretrained(tmp_path / "others")
    with pytest.raises(SystemExit, match="which is no release: export that network first"):
        release("captioner.clevr", train_captioner(tmp_path / "wrong", str(tmp_path / "others")), monkeypatch)
    # Stores may have been made by the network before it was rounded and released.
    final = train_captioner(tmp_path / "final", str(runs / "boundaries"))
    folder = release("captioner.clevr", final, monkeypatch)
    assert {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()} == set(
        weights.RELEASES["captioner.clevr"].files
    )
    shipped = SubobjectProcessor.from_pretrained(folder)
    config = shipped.image_config
    assert (config.boundary_weights, config.embedder_weights) == ("boundarynet.clevr", "seqae.bsds500")
    assert (config.max_tokens, config.threshold) == (16, 0.1)
    settings = SubobjectTokenizer.from_pretrained(
        boundary_weights="boundarynet.clevr", embedder_weights="seqae.bsds500"
    ).settings()
    assert shipped.trained_on.boundary_sha256 == settings["boundary_sha256"]
    assert shipped.trained_on.embedder_sha256 == settings["embedder_sha256"]
    ours, theirs = (weights.load_torch(SubobjectForCausalLM, one) for one in (final, folder))
    assert torch.equal(ours.projector.mean, theirs.projector.mean)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one.half().float(), other)

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)).save(tmp_path / "photo.png")
    result = CliRunner().invoke(app, ["caption", str(tmp_path / "photo.png"), "--runtime", "onnx"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{tmp_path / 'photo.png'}: ")
    assert result.stderr == (
        "captioner.clevr was trained on drawn scenes as in CLEVR (`subobject data clevr-render`) and on nothing else: "
        "what it says of other pictures is wrong\n"
    )
    assert "captioner.clevr (captioner): " in CliRunner().invoke(app, ["weights", "list"]).stdout


def test_without_a_card_it_is_no_release_yet(assets, runs, monkeypatch, capsys):
    import export_release

    monkeypatch.setattr(sys, "argv", ["export_release.py", "boundarynet.clevr", str(runs / "boundaries")])
    export_release.main()
    assert "not released yet: write" in capsys.readouterr().out
    assert not weights.RELEASES["boundarynet.clevr"].installed
