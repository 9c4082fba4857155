"""``subobject train``: run a training recipe."""

import logging
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from subobject.cli.common import fail, usage_errors


class Job(StrEnum):
    """What is trained."""

    boundaries = "boundaries"
    seqae = "seqae"
    patch = "patch"
    language = "language"


_JOBS = {
    Job.boundaries: "subobject.training.boundaries:train",
    Job.seqae: "subobject.training.seqae:train",
    Job.patch: "subobject.training.patch:train",
    Job.language: "subobject.training.language:train",
}


def train(
    job: Annotated[Job, typer.Argument(help="What to train.")],
    config: Annotated[Path, typer.Option("--config", metavar="FILE", help="Recipe, a YAML file.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="key=value", help="Replace a value of the recipe; may be repeated.")
    ] = None,
) -> None:
    """Train a network from a recipe; a second run with the same output folder resumes from its last checkpoint.

    Example:

        subobject train boundaries --config recipes/boundaries_small.yaml --set data=BSDS500_FOLDER
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with usage_errors():
        if not config.is_file():
            raise ValueError(f"the recipe {config} does not exist")
        try:
            from subobject.registry import load_member
            from subobject.training.recipe import load_recipe
        except ImportError as error:
            fail(f'training needs {error.name}: pip install "subobject[train]"')
        folder = load_member(_JOBS[job])(load_recipe(config, settings))
    typer.echo(str(folder))
