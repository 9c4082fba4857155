"""From names to verified files: releases, folders, and the hub (faked)."""

import hashlib
import json
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub.utils import filter_repo_objects
from transformers import SegformerConfig, SegformerForSemanticSegmentation
from typer.testing import CliRunner

from subobject import weights
from subobject.cli.main import app
from subobject.files import sha256
from subobject.weights import RELEASES, WeightsError, copy_files, fingerprint, load_torch, resolve, write_checksums

TINY = {"num_labels": 1, "hidden_sizes": [8, 8, 8, 8], "decoder_hidden_size": 8, "depths": [1, 1, 1, 1]}
WANTED = (
    "config.json",
    "tokenizer.json",
    "model.safetensors",
    "model.onnx",
    "chat_template.jinja",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
    "README.md",
)
REFUSED = ("pytorch_model.bin", "model.pt", "weights.pkl", "word2vec.model", "model.ckpt", "modeling.py")


@pytest.fixture
def assets(tmp_path, monkeypatch) -> Path:
    """Assets with the boundary release only, its files filled with their own names."""
    monkeypatch.setattr(weights, "ASSETS", tmp_path)
    folder = tmp_path / "boundarynet.bsds500"
    folder.mkdir()
    for name in RELEASES["boundarynet.bsds500"].files:
        (folder / name).write_text(name)
    return tmp_path


@pytest.fixture
def segformer(tmp_path) -> Path:
    SegformerForSemanticSegmentation(SegformerConfig(**TINY)).save_pretrained(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_a_release_is_found_by_name_and_by_architecture(assets):
    path = write_checksums()
    assert list(json.loads(path.read_text())) == ["boundarynet.bsds500"]
    assert resolve("boundarynet", "boundaries") == resolve("boundarynet.bsds500", "boundaries") == assets / "boundarynet.bsds500"


@pytest.mark.parametrize("harm", ["change", "remove"])
def test_damaged_files_are_refused(assets, harm):
    write_checksums()
    file = assets / "boundarynet.bsds500" / "model.onnx"
    file.write_text("other") if harm == "change" else file.unlink()
    with pytest.raises(WeightsError, match=r"model\.onnx is missing or damaged .* reinstall"):
        resolve("boundarynet", "boundaries")


def test_a_release_that_is_not_installed(assets):
    assert not RELEASES["boundarynet.bsds500"].installed
    with pytest.raises(WeightsError, match=r"boundarynet\.bsds500 is not part of this installation: give a folder or hub id"):
        resolve("boundarynet", "boundaries")
    (assets / "boundarynet.bsds500" / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"lacks config\.json"):
        write_checksums()


def test_unknown_names_list_the_known(tmp_path):
    for name in ("boundrynet", "seqae", tmp_path / "nowhere", "a/b/c", "./a"):
        with pytest.raises(WeightsError, match=r"unknown weights .*known: boundarynet\.bsds500.*\)"):
            resolve(name, "boundaries")


def test_shipped_files_match_their_checksums():
    path = weights.ASSETS / weights.CHECKSUMS
    recorded = json.loads(path.read_text()) if path.is_file() else {}
    present = {release.name for release in RELEASES.values() if release.folder.is_dir()}
    assert set(recorded) == present
    for name in present:
        assert resolve(name, RELEASES[name].kind) == RELEASES[name].folder


def test_only_installed_releases_are_listed(assets):
    write_checksums()
    result = CliRunner().invoke(app, ["weights", "list", "--json"])
    (line,) = (json.loads(line) for line in result.stdout.splitlines())
    assert (line["name"], line["kind"]) == ("boundarynet.bsds500", "boundaries")
    text = CliRunner().invoke(app, ["weights", "list"]).stdout
    assert text.startswith("boundarynet.bsds500 (boundaries): convolutional boundary network")
    result = CliRunner().invoke(app, ["weights", "show", "captioner.clevr"])
    assert result.exit_code == 2
    assert "captioner.clevr is not part of this installation" in result.stderr


def test_the_weights_that_ship_stay_small():
    assert sum(file.stat().st_size for file in weights.ASSETS.rglob("*") if file.is_file()) < 60e6


def test_every_release_has_a_full_record():
    for name, release in RELEASES.items():
        assert release.name == name
        assert "." in name
        assert {"config.json", "model.safetensors", "README.md"} <= set(release.files)
        assert all((release.licence, release.data, release.recipe, release.summary))


def test_a_hub_id_is_fetched_without_pickles(segformer, monkeypatch):
    asked = {}

    def snapshot_download(repo_id, allow_patterns):
        asked.update(id=repo_id, patterns=allow_patterns)
        return str(segformer)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert resolve("somebody/some-checkpoint", "boundaries") == segformer
    assert asked["id"] == "somebody/some-checkpoint"
    present = [*WANTED, *(f"embedder/{name}" for name in WANTED if name != "README.md"), *REFUSED]
    fetched = list(filter_repo_objects(present, allow_patterns=asked["patterns"]))
    assert fetched == present[: -len(REFUSED)]


def test_all_that_a_language_model_and_its_tokenizer_need_is_copied_and_nothing_pickled(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for name in (*WANTED, *REFUSED):
        (source / name).write_text(name)
    copy_files(source, target)
    copy_files(target, target)
    assert {file.name: file.read_text() for file in target.iterdir()} == {name: name for name in WANTED}


def test_the_fingerprint_is_that_of_sha256sum(tmp_path):
    for name in ("model.safetensors", "config.json", "model.onnx", "README.md", "adapter_config.json"):
        (tmp_path / name).write_text(name)
    # sha256sum config.json *.onnx *.safetensors | sha256sum
    flat = "212fe921865f827bb80c335723a56fd8d5d1ddf0259adc9f7cc1c78119e6c0aa"
    assert fingerprint(tmp_path) == flat
    (tmp_path / "adapter" / "deep").mkdir(parents=True)
    (tmp_path / "adapter" / "README.md").write_text("says nothing of what is computed")
    assert fingerprint(tmp_path) == flat


def test_the_fingerprint_covers_folders_inside(tmp_path):
    names = ["b/config.json", "b/deep/model.onnx", "config.json", "lora/adapter_config.json", "lora/adapter_model.safetensors"]
    for name in reversed(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    lines = "".join(f"{sha256(tmp_path / name)}  {name}\n" for name in names)
    first = fingerprint(tmp_path)
    assert first == hashlib.sha256(lines.encode()).hexdigest()
    seen = {first}
    for name in names:
        (tmp_path / name).write_text("changed")
        seen.add(fingerprint(tmp_path))
    (tmp_path / "lora").rename(tmp_path / "other")
    seen.add(fingerprint(tmp_path))
    assert len(seen) == 1 + len(names) + 1


def test_hub_errors_are_one_sentence(monkeypatch):
    def snapshot_download(*args, **options):
        raise OSError("no connection\nwith many details")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(
        WeightsError, match=r"^some/thing is no folder here and could not be fetched from the hub: no connection$"
    ):
        resolve("some/thing", "boundaries")


def test_pickled_weights_are_refused(segformer):
    (segformer / "model.safetensors").unlink()
    torch.save({}, segformer / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"pickled weights \(.bin, .pt\) are refused"):
        resolve(segformer, "boundaries")
    with pytest.raises(WeightsError, match="holds no safetensors"):
        load_torch(SegformerForSemanticSegmentation, segformer)


def test_a_folder_without_config_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"holds no config\.json"):
        resolve(tmp_path, "embedder")


def test_load_torch(segformer, capfd):
    model = load_torch(SegformerForSemanticSegmentation, segformer)
    assert not model.training
    assert model.dtype == torch.float32
    assert capfd.readouterr() == ("", "")


def test_missing_parameters_are_refused(segformer):
    model = load_torch(SegformerForSemanticSegmentation, segformer)
    values = model.state_dict()
    del values["decode_head.classifier.weight"]
    model.save_pretrained(segformer, state_dict=values)
    with pytest.raises(WeightsError, match=r"lacks 1 parameters of Segformer.*decode_head\.classifier\.weight"):
        load_torch(SegformerForSemanticSegmentation, segformer)
