"""The comparison of tokens on CLEVR: its arithmetic, its figure, and that a stopped comparison goes on."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """Let the scripts be imported as they import each other."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def run(seed, history, **scores):
    return {"seed": seed, "history": history, "images": 10, **scores}


def test_margins_and_speed_by_hand():
    from clevr_comparison import summarise

    runs = {
        "patch": [
            run(0, [(100, 5.0), (200, 3.0)], count=0.5, size=0.8, perplexity=3.0),
            run(1, [(100, 4.0), (200, 2.0)], count=0.7, size=0.8, perplexity=2.0),
        ],
        "subobject": [
            run(1, [(50, 3.0), (100, 2.5), (200, 2.1)], count=0.9, size=0.9, perplexity=2.1),
            run(0, [(50, 3.5), (100, 2.9), (200, 1.5)], count=0.8, size=0.9, perplexity=1.5),
        ],
        "masks": [run(0, [(50, 2.0), (200, 1.1)], count=1.0), run(7, [(50, 2.0)], count=0.0)],
        "slic": [run(7, [(50, 2.0)], count=0.0)],
    }
    found = summarise(runs)
    assert found["margins"]["subobject"]["count"] == {"mean": 25.0, "smallest": 20.0}  # 90 - 70 and 80 - 50
    assert found["margins"]["subobject"]["size"] == {"mean": 10.0, "smallest": 10.0}
    assert found["margins"]["masks"] == {"count": {"mean": 50.0, "smallest": 50.0}}  # seed 7 has no patch run beside it
    assert "slic" not in found["margins"]
    never, half = found["steps_to_patch"]["subobject"]
    assert never == {"seed": 1, "perplexity": 2.0, "step": None, "patch_steps": 200, "ratio": None}
    assert half == {"seed": 0, "perplexity": 3.0, "step": 100, "patch_steps": 200, "ratio": 0.5}
    assert found["methods"]["patch"]["count"] == {"mean": 0.6, "deviation": pytest.approx(0.1414)}


def test_one_seed_has_no_deviation():
    from clevr_comparison import summarise

    found = summarise({"slic": [run(0, [(1, 2.0)], count=0.5)]})
    assert found["methods"]["slic"]["count"] == {"mean": 0.5, "deviation": None}
    assert "margins" not in found


def test_the_first_step_counts_also_if_it_is_lost_again():
    from clevr_comparison import first_step_reaching

    assert first_step_reaching([(10, 4.0), (20, 2.0), (30, 2.5)], 2.2) == 20
    assert first_step_reaching([(10, 4.0)], 4.0) == 10
    assert first_step_reaching([(10, 4.0)], 3.9) is None


def test_lost_and_divided_objects_by_hand():
    from clevr_segments import fit

    truth = np.array([[0, 1, 1, 2, 2, 2, 3, 3]])
    labels = np.array([[0, 0, 0, 1, 1, 2, 3, 0]])
    found = fit(np.repeat(labels, 2, axis=0), np.repeat(truth, 2, axis=0))
    # Segment 0 is mostly object 1, with half of object 3; segments 1 and 2 are both of object 2.
    assert found.lost.tolist() == [False, False, False]
    assert found.divided.tolist() == [False, True, False]
    assert found.iou.tolist() == pytest.approx([2 / 4, 2 / 3, 1 / 2])
    hidden = fit(np.zeros((1, 4), np.int32), np.array([[0, 0, 0, 1]]))
    assert hidden.lost.tolist() == [True]


def test_miscounts_by_kind_of_scene():
    from clevr_errors import counts_agree, tabulate

    true = "Total 1 objects: a small gray metal cube."
    assert counts_agree(true.replace("gray", "red"), true)
    assert not counts_agree(true.replace("1", "2"), true)
    assert not counts_agree("Total 1 objects", true)
    found = tabulate({"a": "lost", "b": "whole", "c": "whole", "d": "whole"}, {"a": False, "b": True, "c": False, "d": True})
    assert found == {
        "lost": {"scenes": 0.25, "count": 0.0},
        "divided": {"scenes": 0.0, "count": None},
        "whole": {"scenes": 0.75, "count": 0.6667},
    }


def write_run(work, method, seed, history, **scores):
    folder = work / "runs" / f"{method}-seed{seed}"
    folder.mkdir(parents=True)
    log = [{"step": step, "loss": 1.0} for step, _ in history] + [{"step": step, "eval_perplexity": v} for step, v in history]
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": log}))
    (folder / "scores.json").write_text(json.dumps({"tokens": 20.0, "perplexity": 2.0, **scores}))
    return folder


def test_figure_reads_finished_runs_only(tmp_path):
    pytest.importorskip("matplotlib")
    from clevr_comparison import read_runs
    from clevr_figure import draw, mean_history

    write_run(tmp_path, "patch", 0, [(10, 4.0), (20, 3.0)], count=0.4, size=0.5)
    write_run(tmp_path, "patch", 1, [(10, 6.0), (20, 3.5), (30, 3.0)], count=0.6, size=0.5)
    write_run(tmp_path, "subobject", 0, [(10, 3.0), (20, 2.0)], count=0.9, size=0.9)
    (write_run(tmp_path, "subobject", 1, [(10, 3.0)], count=0.1) / "scores.json").unlink()
    runs = read_runs(tmp_path)
    assert {method: len(found) for method, found in runs.items()} == {"subobject": 1, "patch": 2}
    assert mean_history(runs["patch"]) == [(10, 5.0, 4.0, 6.0), (20, 3.25, 3.0, 3.5)]
    svg, png = draw(runs, tmp_path / "figure")
    assert "<svg" in svg.read_text()
    with Image.open(png) as picture:
        assert min(picture.size) > 300


@pytest.fixture
def clevr(tmp_path):
    """Six images a split, of two objects on a ground that one of them divides."""
    folder = tmp_path / "clevr"
    for split in ("train", "val"):
        scenes = []
        for i in range(6):
            name = f"CLEVR_{split}_{i:06d}.png"
            labels = np.zeros((64, 96), np.uint16)
            labels[20:40, 10 + i : 30 + i] = 1
            labels[:, 60:70] = 2
            for kind, values in (
                ("images", np.array([(90, 90, 90), (200, 30, 30), (30, 30, 200)], np.uint8)[labels]),
                ("masks", labels),
            ):
                (folder / kind / split).mkdir(parents=True, exist_ok=True)
                Image.fromarray(values).save(folder / kind / split / name)
            objects = [
                {"size": "small", "color": "red", "material": "metal", "shape": "cube", "pixel_coords": [20 + i, 30, 9]},
                {"size": "large", "color": "blue", "material": "rubber", "shape": "sphere", "pixel_coords": [65, 32, 9]},
            ]
            scenes.append({"image_index": i, "image_filename": name, "objects": objects})
        (folder / "scenes").mkdir(exist_ok=True)
        (folder / "scenes" / f"CLEVR_{split}_scenes.json").write_text(json.dumps({"scenes": scenes}))
    return folder


def test_true_masks_are_the_ground_and_the_objects(clevr):
    from clevr_comparison import mask_segmentation
    from subobject.data.clevr import read_clevr

    image = read_clevr(clevr, "val")[0]
    segmentation = mask_segmentation(image)
    assert sorted(segmentation.areas.tolist()) == sorted([20 * 20, 64 * 10, 64 * 60 - 20 * 20, 64 * 26])
    for segment in range(segmentation.num_segments):
        assert len(np.unique(image.mask()[segmentation.labels == segment])) == 1


@pytest.mark.long
def test_a_stopped_comparison_goes_on(clevr, tmp_path, monkeypatch):
    pytest.importorskip("peft")
    import _report
    import clevr_comparison

    monkeypatch.setattr(_report, "RESULTS", tmp_path / "results")
    work = tmp_path / "work"
    settings = {
        "trainer.max_steps": 2,
        "trainer.eval_steps": 1,
        "trainer.per_device_train_batch_size": 2,
        "trainer.warmup_steps": 0,
        "trainer.bf16": "false",
        "language.base.hidden_size": 32,
        "language.base.intermediate_size": 32,
        "language.base.num_hidden_layers": 1,
        "language.base.num_attention_heads": 2,
        "language.base.num_key_value_heads": 2,
    }
    words = ["--data", clevr, "--work", work, "--methods", "masks", "patch", "--seeds", 0, "--train-images", 6, "--val-images", 5]
    words += ["--set", *(f"{key}={value}" for key, value in settings.items())]
    monkeypatch.setattr(sys, "argv", ["clevr_comparison.py", *map(str, words)])
    clevr_comparison.main()
    scores = work / "runs" / "masks-seed0" / "scores.json"
    first = json.loads((tmp_path / "results" / "clevr_comparison.json").read_text())
    assert set(first["methods"]) == {"masks", "patch"}
    assert first["methods"]["masks"]["tokens"]["mean"] == 4
    assert first["methods"]["patch"]["tokens"]["mean"] == 6  # 64 x 96 pixels in squares of 32
    assert [step for step, _ in first["runs"]["masks"][0]["history"]] == [1, 2]
    untouched = scores.stat().st_mtime_ns
    patch = work / "runs" / "patch-seed0" / "scores.json"
    scored = json.loads(patch.read_text())
    patch.unlink()
    clevr_comparison.main()
    assert scores.stat().st_mtime_ns == untouched
    assert json.loads(patch.read_text()) == scored
    assert [step for step, _ in clevr_comparison.perplexity_history(patch.parent)] == [1, 2]
