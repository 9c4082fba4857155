"""Recipes: YAML files that hold everything a training run needs, and the one way to run them."""

import copy
import dataclasses
import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from torch import nn
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import TrainerState

from subobject.files import atomic_path
from subobject.registry import lookup
from subobject.training import ema
from subobject.training.ema import MovingAverage

T = TypeVar("T")
STATE_FILE = "trainer_state.json"
_EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")

logger = logging.getLogger(__name__)


@dataclass
class Recipe:
    """One training run.

    Attributes:
        output: Folder for checkpoints, the resolved recipe, the log and the final weights.
        data: Folder of the data set.
        dataset: Kind of the data set, where a job can read several: a key of ``data.READERS``.
        splits: Parts of the data set to train on.
        tokens: Folder of stored tokens of the data set, where a job reads them.
        model: Arguments of the model's config class.
        language: The language model and its captions, where a job trains one (``training.language.LanguageOptions``).
        crops: Arguments of the job's data set (its options dataclass).
        target: How annotations become targets, where a job has a choice.
        loss: Arguments of the job's loss.
        rates: Factors on the learning rate of parameters, by the beginning of their names, where a job supports it.
        trainer: Any ``transformers.TrainingArguments`` but ``output_dir``.
        ema: Decay of the moving average of the weights; 0 turns it off.
        stages: Runs that follow each other, each from the weights of the one before, where a job has several: for each the
            sections that differ. Their outputs are ``<output>/stage-1`` and so on.
    """

    output: str
    data: str
    dataset: str = "bsds500"
    splits: list[str] = field(default_factory=lambda: ["train"])
    tokens: str | None = None
    model: dict[str, Any] = field(default_factory=dict)
    language: dict[str, Any] = field(default_factory=dict)
    crops: dict[str, Any] = field(default_factory=dict)
    target: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    ema: float = 0.999
    stages: list[dict[str, Any]] = field(default_factory=list)


def load_recipe(path: str | Path, settings: list[str] | None = None) -> Recipe:
    """Read a recipe and apply ``key=value`` settings; dots reach into sections (``trainer.max_steps=100``).

    Raises:
        ValueError: If the file or a setting is malformed, or names an unknown key.
    """
    values = yaml.safe_load(Path(path).read_text())
    if not isinstance(values, dict):
        raise ValueError(f"{path} is not a recipe: expected `key: value` lines")
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"--set {setting!r} has no '=': write key=value, for example trainer.max_steps=100")
        *sections, last = key.split(".")
        target = values
        for section in sections:
            target = target.setdefault(section, {})
        target[last] = _scalar(value)
    known = [one.name for one in dataclasses.fields(Recipe)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"{path} has the unknown key {unknown[0]!r}: use {', '.join(known)}")
    missing = [name for name in ("output", "data") if name not in values]
    if missing:
        raise ValueError(f"{path} lacks the key {missing[0]!r}: add it, or pass --set {missing[0]}=...")
    return Recipe(**values)


def _scalar(text: str) -> Any:
    """Read a YAML value; ``1e-3`` is a number too, which YAML 1.1 takes for a word."""
    value = yaml.safe_load(text)
    return float(text) if isinstance(value, str) and _EXPONENT.fullmatch(text.strip()) else value


def training_arguments(recipe: Recipe) -> TrainingArguments:
    """Build the Trainer's arguments; fields of our own choice are defaults that a recipe may override."""
    defaults: dict[str, Any] = {
        "output_dir": recipe.output,
        "remove_unused_columns": False,
        "report_to": "none",
        "logging_steps": 50,
        "save_total_limit": 2,
        "disable_tqdm": True,
    }
    return options(TrainingArguments, defaults | recipe.trainer, "trainer")


def options(kind: Callable[..., T], values: dict[str, Any], section: str) -> T:
    """Make the options of a section.

    Args:
        kind: A dataclass.
        values: Its arguments.
        section: Name of the section, for the message.

    Raises:
        ValueError: If a key is unknown or a value does not fit.
    """
    known = {one.name: None for one in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        lookup(known, key, f"key in {section}")
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{section}: {error}") from error


def stages(recipe: Recipe) -> list[Recipe]:
    """Return the runs of a recipe: one a stage, or the recipe itself where it has none.

    Raises:
        ValueError: If a stage sets anything but sections.
    """
    sections = ("crops", "target", "loss", "trainer")
    runs = []
    for number, changes in enumerate(recipe.stages, start=1):
        merged: dict[str, Any] = {"output": str(Path(recipe.output) / f"stage-{number}"), "stages": []}
        for section, values in changes.items():
            lookup(dict.fromkeys(sections), section, f"section of stage {number}")
            merged[section] = getattr(recipe, section) | values
        runs.append(dataclasses.replace(copy.deepcopy(recipe), **merged))
    return runs or [copy.deepcopy(recipe)]


def last_complete_checkpoint(recipe: Recipe) -> tuple[str | None, int]:
    """Find the newest checkpoint that was written to its end; a killed run may leave half of one.

    Returns:
        Its folder and the steps done by then, or None and 0.
    """
    found: list[tuple[int, str]] = []
    for folder in Path(recipe.output).glob("checkpoint-*"):
        try:
            done = TrainerState.load_from_json(str(folder / STATE_FILE)).global_step
        except (OSError, json.JSONDecodeError, TypeError):
            continue
        # The average is written last.
        if not recipe.ema or (folder / ema.FILE_NAME).is_file():
            found.append((done, str(folder)))
    steps, last = max(found, default=(0, None))
    return last, steps


def run(
    recipe: Recipe,
    args: TrainingArguments,
    model: nn.Module,
    dataset: Any,
    collate: Callable[[list[Any]], dict[str, Any]],
    make_trainer: Callable[..., Trainer],
) -> Path:
    """Train, resuming from the last checkpoint in the output folder, and save the weights in ``<output>/final``.

    A finished run is left as it is.
    """
    output = Path(recipe.output)
    output.mkdir(parents=True, exist_ok=True)
    if args.process_index == 0:
        with atomic_path(output / "recipe.yaml") as partial:
            partial.write_text(yaml.safe_dump(dataclasses.asdict(recipe), sort_keys=False))
    final = output / "final"
    last, done = last_complete_checkpoint(recipe)
    if 0 < args.max_steps <= done and (output / STATE_FILE).is_file():
        logger.info("%s is finished", output)
        return final
    if last is not None:
        logger.info("resuming from %s", last)
    callbacks = [MovingAverage(recipe.ema, last)] if recipe.ema else []
    trainer = make_trainer(model=model, args=args, train_dataset=dataset, data_collator=collate, callbacks=callbacks)
    trainer.train(resume_from_checkpoint=last)
    trainer.save_model(str(final))
    if args.process_index == 0:
        # Written last: it says that the run is finished.
        trainer.state.save_to_json(str(output / STATE_FILE))
    return final
