"""Recipes: YAML files that hold everything a training run needs, and the one way to run them."""

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from torch import nn
from transformers import Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from subobject.training.ema import MovingAverage

logger = logging.getLogger(__name__)


@dataclass
class Recipe:
    """One training run.

    Attributes:
        output: Folder for checkpoints, the resolved recipe, the log and the final weights.
        data: Folder of the data set.
        model: Arguments of the model's config class.
        crops: Arguments of the job's data set (its options dataclass).
        loss: Arguments of the job's loss.
        trainer: Any ``transformers.TrainingArguments`` but ``output_dir``.
        ema: Decay of the moving average of the weights; 0 turns it off.
    """

    output: str
    data: str
    splits: list[str] = field(default_factory=lambda: ["train"])
    model: dict[str, Any] = field(default_factory=dict)
    crops: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    ema: float = 0.999


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
        target[last] = yaml.safe_load(value)
    known = [one.name for one in dataclasses.fields(Recipe)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"{path} has the unknown key {unknown[0]!r}: use {', '.join(known)}")
    missing = [name for name in ("output", "data") if name not in values]
    if missing:
        raise ValueError(f"{path} lacks the key {missing[0]!r}: add it, or pass --set {missing[0]}=...")
    return Recipe(**values)


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
    return TrainingArguments(**(defaults | recipe.trainer))


def run(
    recipe: Recipe,
    args: TrainingArguments,
    model: nn.Module,
    dataset: Any,
    collate: Callable[[list[Any]], dict[str, Any]],
    make_trainer: Callable[..., Trainer],
) -> Path:
    """Train, resuming from the last checkpoint in the output folder, and save the weights in ``<output>/final``."""
    output = Path(recipe.output)
    output.mkdir(parents=True, exist_ok=True)
    (output / "recipe.yaml").write_text(yaml.safe_dump(dataclasses.asdict(recipe), sort_keys=False))
    last = get_last_checkpoint(str(output))
    if last is not None:
        logger.info("resuming from %s", last)
    callbacks = [MovingAverage(recipe.ema, last)] if recipe.ema else []
    trainer = make_trainer(model=model, args=args, train_dataset=dataset, data_collator=collate, callbacks=callbacks)
    trainer.train(resume_from_checkpoint=last)
    trainer.state.save_to_json(str(output / "trainer_state.json"))
    final = output / "final"
    trainer.save_model(str(final))
    return final
