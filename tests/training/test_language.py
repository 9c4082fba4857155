"""Training on captions: tiny data in the official layout, tokens from a store, whole models and adapters."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from transformers import EvalPrediction, PhiConfig, PhiForCausalLM  # noqa: E402

from subobject.data.clevr import read_clevr  # noqa: E402
from subobject.language.adapters import load  # noqa: E402
from subobject.language.modeling import SubobjectForCausalLM  # noqa: E402
from subobject.language.processing import SubobjectProcessor  # noqa: E402
from subobject.language.words import word_tokenizer  # noqa: E402
from subobject.tokens.store import TokenWriter  # noqa: E402
from subobject.training.language import caption_losses, perplexity, train  # noqa: E402
from subobject.training.recipe import load_recipe  # noqa: E402
from tests.language.conftest import VECTOR, make_tokens  # noqa: E402

RECIPES = Path(__file__).parents[2] / "recipes"
COUNTS = {"train": 6, "val": 3}
SETTINGS = {"segmenter": "gradient", "embedder": "mean-colour", "order": "raster", "seed": 0, "max_tokens": 9}
SMALL = [
    "language.base={model_type: llama, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1, num_attention_heads: 2}",
    "language.eval_samples=2",
    "language.mirror=false",
    "model.vector_noise=0",
    "trainer.max_steps=4",
    "trainer.save_steps=2",
    "trainer.eval_steps=2",
    "trainer.logging_steps=1",
    "trainer.warmup_steps=1",
    "trainer.per_device_train_batch_size=2",
]


def write_clevr(folder: Path) -> None:
    """Write a tiny data set in the layout of CLEVR v1.0."""
    generator = np.random.default_rng(0)
    for split, count in COUNTS.items():
        images = folder / "images" / split
        images.mkdir(parents=True)
        scenes = []
        for index in range(count):
            name = f"CLEVR_{split}_{index:06d}.png"
            Image.fromarray(np.full((8, 12, 4), 128, dtype=np.uint8)).save(images / name)
            objects = [
                {
                    "size": str(generator.choice(["small", "large"])),
                    "color": str(generator.choice(["red", "cyan"])),
                    "material": str(generator.choice(["metal", "rubber"])),
                    "shape": str(generator.choice(["cube", "sphere", "cylinder"])),
                    "pixel_coords": [int(generator.integers(12)), 4, 9.5],
                }
                for _ in range(3 + index % 2)
            ]
            scenes.append({"split": split, "image_index": index, "image_filename": name, "objects": objects})
        (folder / "scenes").mkdir(exist_ok=True)
        document = {"info": {"split": split, "version": "1.0"}, "scenes": scenes}
        (folder / "scenes" / f"CLEVR_{split}_scenes.json").write_text(json.dumps(document))


def write_store(folder: Path, split: str, skip: int | None = None) -> None:
    with TokenWriter(folder, SETTINGS) as writer:
        for index in range(COUNTS[split]):
            if index != skip:
                writer.write(f"{split}/CLEVR_{split}_{index:06d}.png", make_tokens(3 + index, index))


@pytest.fixture
def world(tmp_path) -> list[str]:
    """Settings that point a recipe at tiny data and tokens."""
    write_clevr(tmp_path / "clevr")
    for split in COUNTS:
        write_store(tmp_path / "tokens" / split, split)
    return [f"data={tmp_path / 'clevr'}", f"tokens={tmp_path / 'tokens'}", f"output={tmp_path / 'run'}", "trainer.use_cpu=true"]


def log_of(folder: Path) -> list[dict]:
    return json.loads((folder / "trainer_state.json").read_text())["log_history"]


def same(ours, theirs) -> bool:
    return all(torch.allclose(one, theirs[name], atol=1e-6) for name, one in ours.items())


def test_the_small_recipe_trains_resumes_and_ends_as_a_captioner(world, tmp_path):
    recipe = load_recipe(RECIPES / "clevr_small.yaml", [*world, *SMALL, "trainer.bf16=false"])
    final = train(recipe)
    whole = load(final)
    log = log_of(tmp_path / "run")
    assert [row["step"] for row in log if "loss" in row] == [1, 2, 3, 4]
    assert [row["step"] for row in log if "eval_perplexity" in row] == [2, 4]
    assert all(row["eval_perplexity"] > 1 for row in log if "eval_perplexity" in row)

    processor = SubobjectProcessor.from_pretrained(final)
    assert processor.image_config.segmenter == "gradient"
    assert whole.config.vector_size == VECTOR
    assert whole.projector.scale.std() > 0  # standardised by the vectors of the store
    inputs = processor(processor.prompt, tokens=make_tokens(4))
    assert isinstance(processor.decode(whole.generate(**inputs, do_sample=False)[0]), str)

    shutil.rmtree(final)
    shutil.rmtree(tmp_path / "run" / "checkpoint-4")
    resumed = load(train(recipe))
    assert same(whole.state_dict(), resumed.state_dict())


@pytest.mark.parametrize("row_length", ["null", "70"])
def test_packed_training_follows_padded_training(row_length, world, tmp_path):
    runs = []
    for name, packed in (("padded", "false"), ("packed", "true")):
        settings = [
            f"output={tmp_path / name}",
            f"language.packed={packed}",
            f"language.row_length={row_length}",
            "trainer.bf16=false",
        ]
        train(load_recipe(RECIPES / "clevr_small.yaml", [*world, *SMALL, *settings]))
        runs.append([row["loss"] for row in log_of(tmp_path / name) if "loss" in row])
    assert runs[0] == pytest.approx(runs[1], rel=1e-3)


def tiny_phi(folder: Path) -> Path:
    """Write a Phi model and a tokenizer, as a hub folder holds them; its table is larger than its vocabulary, as Phi-2's is."""
    captions = ["Total 3 4 objects: a small large red cyan metal rubber cube, sphere, cylinder."]
    tokenizer = word_tokenizer([captions[0], " " + captions[0]], max_length=256)
    tokenizer.save_pretrained(folder)
    config = PhiConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    PhiForCausalLM(config).save_pretrained(folder)
    return folder


def test_the_paper_recipe_takes_a_few_steps_on_a_tiny_phi(world, tmp_path):
    settings = [
        *world,
        f"language.base={tiny_phi(tmp_path / 'phi')}",
        "language.dtype=float32",
        "trainer.max_steps=2",
        "trainer.bf16=false",
        "trainer.eval_steps=1",
        "trainer.save_steps=1",
        "trainer.logging_steps=1",
        "trainer.gradient_accumulation_steps=2",
        "trainer.per_device_train_batch_size=2",
        "trainer.dataloader_num_workers=0",
    ]
    recipe = load_recipe(RECIPES / "clevr_paper.yaml", settings)
    final = train(recipe)
    stored = {file.name for file in final.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "config.json", "tokenizer.json"} <= stored
    targets = set(json.loads((final / "adapter_config.json").read_text())["target_modules"])
    assert targets == {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.fc1", "mlp.fc2"}
    whole = load(final)
    assert isinstance(whole, SubobjectForCausalLM)
    assert len([row for row in log_of(tmp_path / "run") if "eval_perplexity" in row]) == 2

    shutil.rmtree(final)
    shutil.rmtree(tmp_path / "run" / "checkpoint-2")
    assert same(whole.state_dict(), load(train(recipe)).state_dict())


def test_the_paper_recipe_says_what_the_paper_says():
    recipe = load_recipe(RECIPES / "clevr_paper.yaml")
    trainer = recipe.trainer
    assert trainer["per_device_train_batch_size"] * trainer["gradient_accumulation_steps"] == 32
    assert (trainer["num_train_epochs"], trainer["learning_rate"], trainer["lr_scheduler_type"]) == (10, 1e-4, "cosine")
    assert (recipe.language["base"], recipe.language["samples"], recipe.language["eval_samples"]) == (
        "microsoft/phi-2",
        70000,
        2000,
    )
    assert recipe.model == {"projector": "linear", "box_features": "linear", "image_attention": "causal"}


def test_images_that_the_store_lacks_are_left_out_and_said(world, tmp_path, caplog):
    shutil.rmtree(tmp_path / "tokens" / "train")
    write_store(tmp_path / "tokens" / "train", "train", skip=2)
    train(load_recipe(RECIPES / "clevr_small.yaml", [*world, *SMALL, "trainer.max_steps=1", "trainer.eval_steps=1"]))
    assert "lacks 1 of 6 images" in caplog.text


def test_mirrored_images_are_trained_on_as_well(world, tmp_path):
    settings = [*world, *SMALL, "language.mirror=true"]
    images = read_clevr(tmp_path / "clevr", "train")
    with TokenWriter(tmp_path / "tokens" / "train", SETTINGS) as writer:
        for image in images:
            writer.write(f"train/{image.mirror().name}", make_tokens(3))
    recipe = load_recipe(RECIPES / "clevr_small.yaml", settings)
    final = train(recipe)
    assert SubobjectProcessor.from_pretrained(final).trained_on.pictures.startswith("12 pictures")


def test_perplexity_counts_every_target_once():
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 5, 7), torch.randint(0, 7, (3, 5))
    labels[0, 2:] = -100
    found = perplexity(EvalPrediction(predictions=caption_losses(logits, labels).numpy(), label_ids=labels.numpy()))
    losses = [
        -torch.log_softmax(logits[b, i - 1], dim=0)[labels[b, i]].item()
        for b in range(3)
        for i in range(1, 5)
        if labels[b, i] != -100
    ]
    assert found == {"perplexity": pytest.approx(math.exp(sum(losses) / len(losses)), rel=1e-5), "targets": len(losses)}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["tokens=null"], "lacks the key 'tokens'"),
        (["tokens=nowhere"], "holds no token store"),
        (["language.colours=true"], "did you mean 'colour'"),
        (["language.tokenizer=null"], "which has no tokenizer"),
        (["language.adapter={r: 2}"], "random weights"),
        (["language.dtype=float12"], "language.dtype is 'float12'"),
        (["language.base=nowhere/at-all-or-so"], "cannot be loaded"),
        (["language.eval_split=test"], "does not hold the CLEVR split 'test'"),
        (["model.projector=mpl"], "did you mean 'mlp'"),
    ],
)
def test_wrong_settings_are_named(settings, message, world, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match=message):
        train(load_recipe(RECIPES / "clevr_small.yaml", [*world, *SMALL, *settings]))
