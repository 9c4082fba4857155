"""Short training runs of tiny boundary networks on tiny data sets: every recipe, resumption, two processes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from safetensors.torch import load_file  # noqa: E402

from subobject.boundaries.directsam import DirectSAM  # noqa: E402
from subobject.training.boundaries import train  # noqa: E402
from subobject.training.recipe import last_complete_checkpoint, load_recipe  # noqa: E402
from tests.data import layouts  # noqa: E402

RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = RECIPES / "boundaries_scratch.yaml"
SHORT = [
    "crops.size=32",
    "trainer.max_steps=4",
    "trainer.save_steps=2",
    "trainer.per_device_train_batch_size=2",
    "trainer.logging_steps=1",
    "trainer.use_cpu=true",
    "trainer.bf16=false",
    "trainer.dataloader_num_workers=0",
]
TINY_NET = [
    *SHORT,
    "model={channels: [4, 6], blocks: [1, 1], width: 4}",
    "trainer.warmup_steps=1",
    "trainer.lr_scheduler_kwargs={num_decay_steps: 2, decay_type: cosine}",
]
TINY_SEGFORMER = [
    "model.hidden_sizes=[8, 8, 16, 16]",
    "model.num_attention_heads=[1, 1, 2, 2]",
    "model.decoder_hidden_size=8",
    "model.depths=[1, 1, 1, 1]",
]
NO_CHANCE = ["model.classifier_dropout_prob=0.0", "model.drop_path_rate=0.0", "model.batch_norm=frozen"]
COMMAND = [sys.executable, "-m", "subobject", "train", "boundaries", "--config"]


def losses(output: Path) -> dict[int, float]:
    """Read the loss of every step that was logged."""
    rows = json.loads((output / "trainer_state.json").read_text())["log_history"]
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


def arguments(settings: list[str]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def quiet() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def assert_equal_weights(first: Path, second: Path, tolerance: float, ignore: str = "nothing") -> None:
    one, other = (load_file(folder / "model.safetensors") for folder in (first, second))
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert ignore in name or torch.allclose(value.float(), other[name].float(), rtol=0, atol=tolerance), name


def test_settings_are_yaml_with_exponents():
    settings = ["trainer.learning_rate=1e-3", "trainer.weight_decay=2.5E-4", "model.note=1e", "splits=[val]"]
    recipe = load_recipe(SMALL, settings)
    assert (recipe.trainer["learning_rate"], recipe.trainer["weight_decay"]) == (1e-3, 2.5e-4)
    assert (recipe.model["note"], recipe.splits) == ("1e", ["val"])


def test_training_resumes_where_it_stopped(tmp_path):
    data, output = layouts.write_bsds500(tmp_path / "data"), tmp_path / "run"
    recipe = load_recipe(SMALL, [f"data={data}", f"output={output}", *TINY_NET])
    final = train(recipe)
    before = losses(output)
    assert sorted(before) == [1, 2, 3, 4]
    shutil.move(final, tmp_path / "whole")
    shutil.rmtree(output / "checkpoint-4")
    assert_equal_weights(tmp_path / "whole", train(recipe), 1e-6)
    assert losses(output) == before


def test_a_half_written_checkpoint_is_passed_over(tmp_path):
    data, output = layouts.write_bsds500(tmp_path / "data"), tmp_path / "run"
    recipe = load_recipe(SMALL, [f"data={data}", f"output={output}", *TINY_NET])
    train(recipe)
    before = losses(output)
    (output / "checkpoint-4" / "ema.safetensors").unlink()
    assert last_complete_checkpoint(recipe) == (str(output / "checkpoint-2"), 2)
    (output / "checkpoint-4" / "trainer_state.json").write_text('{"global_st')
    train(recipe)
    assert losses(output) == before


@pytest.mark.parametrize(
    ("name", "writer", "kind"),
    [
        ("sa1b", layouts.write_sa1b, "band"),
        ("ade20k", layouts.write_ade20k, "contours"),
        ("coco-panoptic", lambda folder: layouts.write_coco_panoptic(folder, "train2017"), "band"),
        ("folder", layouts.write_folder, "changes"),
        ("bsds500", layouts.write_bsds500, "contours"),
    ],
)
def test_every_data_set_trains_a_segformer(name, writer, kind, tmp_path):
    settings = [f"data={writer(tmp_path / 'data')}", f"output={tmp_path / 'run'}", f"dataset={name}", f"target.kind={kind}"]
    final = train(load_recipe(RECIPES / "epoc.yaml", [*settings, *SHORT, *TINY_SEGFORMER, "trainer.max_steps=3"]))
    assert sorted(losses(tmp_path / "run")) == [1, 2, 3]
    assert any((tmp_path / "run" / "runs").rglob("events.out.tfevents.*"))
    (found,) = DirectSAM.from_pretrained(final, device="cpu")([layouts.picture(3, (50, 70))])
    assert found.size_hw == (50, 70)


def test_the_published_stages_follow_each_other(tmp_path):
    """Both stages, the second from the first's weights and at its own size; a finished stage is not run again."""
    settings = [f"data={layouts.write_sa1b(tmp_path / 'data')}", f"output={tmp_path / 'run'}", *SHORT, *TINY_SEGFORMER]
    recipe = load_recipe(RECIPES / "directsam_paper.yaml", settings)
    assert [stage["trainer"]["learning_rate"] for stage in recipe.stages] == [4e-4, 2e-4]
    assert recipe.stages[1]["crops"] == {"size": 1800}
    for stage, size in zip(recipe.stages, (32, 64), strict=True):
        stage["trainer"] |= {"max_steps": 2, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}
        stage["crops"] = {"size": size}
    final = train(recipe)
    assert final == tmp_path / "run" / "stage-2" / "final"
    assert DirectSAM.from_pretrained(final, device="cpu").preprocessing.resolution == 64
    written = (tmp_path / "run" / "stage-1" / "final" / "model.safetensors").stat().st_mtime_ns
    # A learning rate of 0 shows which weights the second stage starts from.
    recipe.stages[1]["trainer"]["learning_rate"] = 0.0
    shutil.rmtree(tmp_path / "run" / "stage-2")
    assert_equal_weights(tmp_path / "run" / "stage-1" / "final", train(recipe), 0, ignore="batch_norm")
    assert (tmp_path / "run" / "stage-1" / "final" / "model.safetensors").stat().st_mtime_ns == written


@pytest.mark.parametrize("loss", ["balanced", "cross_entropy", "annotators"])
def test_every_loss_trains(loss, tmp_path):
    data = layouts.write_bsds500(tmp_path / "data", annotators=3)
    settings = [f"data={data}", f"output={tmp_path / 'run'}", *TINY_NET, f"loss={{kind: {loss}}}", "trainer.max_steps=2"]
    if loss == "annotators":
        settings.append("target={annotators: each}")
    train(load_recipe(SMALL, settings))
    assert all(np.isfinite(value) and value > 0 for value in losses(tmp_path / "run").values())


def test_a_stream_gives_the_same_curve_for_any_number_of_workers_and_accumulation(tmp_path):
    data = layouts.write_sa1b(tmp_path / "data")
    curves = []
    for workers, batch, accumulation in ((0, 4, 1), (2, 2, 2)):
        output = tmp_path / f"run{workers}"
        settings = [f"data={data}", f"output={output}", *SHORT, *TINY_SEGFORMER, *NO_CHANCE]
        settings += [f"trainer.per_device_train_batch_size={batch}", f"trainer.gradient_accumulation_steps={accumulation}"]
        train(load_recipe(RECIPES / "epoc.yaml", [*settings, f"trainer.dataloader_num_workers={workers}"]))
        curves.append(losses(output))
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("recipe", ["boundaries_scratch", "epoc"])
def test_a_killed_run_continues_with_the_same_curve(recipe, tmp_path):
    """``kill -9`` once the second checkpoint appears, whatever of it is written by then; one map-style set and one stream."""
    writer, settings = (
        (layouts.write_bsds500, TINY_NET) if recipe == "boundaries_scratch" else (layouts.write_sa1b, [*SHORT, *TINY_SEGFORMER])
    )
    settings = [*settings, f"data={writer(tmp_path / 'data')}", "trainer.max_steps=30", "trainer.save_steps=3"]
    train(load_recipe(RECIPES / f"{recipe}.yaml", [*settings, f"output={tmp_path / 'whole'}"]))

    output = tmp_path / "killed"
    command = [*COMMAND, str(RECIPES / f"{recipe}.yaml"), *arguments([*settings, f"output={output}"])]
    process = subprocess.Popen(command, env=quiet(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not (output / "checkpoint-6").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    assert (output / "checkpoint-6").exists(), "no second checkpoint appeared"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (output / "trainer_state.json").exists(), "the run was over before it could be killed"
    train(load_recipe(RECIPES / f"{recipe}.yaml", [*settings, f"output={output}"]))
    assert sorted(losses(output)) == list(range(1, 31))
    assert losses(output) == pytest.approx(losses(tmp_path / "whole"), rel=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("dataset", ["bsds500", "sa1b"])
def test_two_processes_give_the_weights_of_one(dataset, tmp_path):
    """With gloo on the CPU and an equal global batch; batch normalisation keeps its statistics, see docs/training.md."""
    writer = layouts.write_bsds500 if dataset == "bsds500" else layouts.write_sa1b
    settings = [f"data={writer(tmp_path / 'data')}", f"dataset={dataset}", *SHORT, *TINY_SEGFORMER, *NO_CHANCE]
    settings.append("trainer.learning_rate=1e-3")
    one = train(
        load_recipe(RECIPES / "epoc.yaml", [*settings, f"output={tmp_path / 'one'}", "trainer.per_device_train_batch_size=4"])
    )
    two = tmp_path / "two"
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        str(free_port()),
        *COMMAND[1:],
    ]
    launch += [str(RECIPES / "epoc.yaml"), *arguments([*settings, f"output={two}", "trainer.ddp_backend=gloo"])]
    subprocess.run(launch, env=quiet(), check=True, capture_output=True, timeout=900)
    assert losses(two) == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    assert_equal_weights(one, two / "final", 1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["epochs=3"], "unknown key 'epochs'"),
        (["nonsense"], "has no '='"),
        (["data=nowhere"], "does not hold the BSDS500 split"),
        (["dataset=coco"], "unknown data set 'coco': Known: ade20k"),
        (["model.type=segfomer"], "unknown type of boundary network 'segfomer': did you mean 'segformer'"),
        (["model.chanels=[4]"], "unknown argument of BoundaryNetConfig 'chanels': did you mean 'channels'"),
        (["model.batch_norm=none"], "unknown batch_norm"),
        (["crops.sise=3"], "unknown key in crops 'sise': did you mean 'size'"),
        (["target.kind=lines"], "unknown kind of target 'lines'"),
        (["loss.kind=dice"], "unknown loss 'dice'"),
        (["trainer.learning_rat=1"], "unknown key in trainer 'learning_rat': did you mean 'learning_rate'"),
        (["stages=[{output: x}, {}]"], "unknown section of stage 1 'output'"),
        (["trainer={use_cpu: true}"], "max_steps is missing"),
    ],
)
def test_wrong_settings_are_named(settings, message, tmp_path):
    data = layouts.write_bsds500(tmp_path / "data")
    with pytest.raises(ValueError, match=message):
        train(load_recipe(SMALL, [f"output={tmp_path / 'run'}", f"data={data}", *settings]))
