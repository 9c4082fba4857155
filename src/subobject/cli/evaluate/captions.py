"""``subobject evaluate captions``."""

from pathlib import Path
from typing import Annotated

import typer

from subobject.cli.common import CommonOptions, MaxTokens, emit, fail, progress, spread, usage_errors
from subobject.cli.evaluate.options import Limit


@spread
def captions(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="CLEVR, or a folder that `data clevr-render` wrote.")],
    *,
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="Release, folder or hub id of a captioner.")
    ] = "captioner",
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="Part of the data set.")] = "val",
    tokens: Annotated[
        Path | None, typer.Option("--tokens", metavar="DIR", help="Token store of the images; they are cut anew if left out.")
    ] = None,
    max_tokens: MaxTokens = None,
    colour: Annotated[bool, typer.Option("--colour/--no-colour", help="Whether captions name colours.")] = True,
    batch_size: Annotated[int, typer.Option("--batch-size", metavar="N", help="Images at a time.")] = 32,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Also write each caption, one JSON object a line.")
    ] = None,
    limit: Limit = None,
    common: CommonOptions,
) -> None:
    """Score the captions that a model writes of CLEVR scenes: count, size, colour, material, shape, exact captions, perplexity.

    Objects are compared from left to right; one that is missed or made up is wrong in everything. Texts that depart from the
    wording of the captions in any character count as wrong and lower parse_rate.

    Example:

        subobject evaluate captions --data clevr --model runs/clevr_small/final --tokens stores/clevr/val
    """
    with usage_errors():
        from subobject.data.clevr import read_clevr
        from subobject.metrics.run import limited

        if tokens is not None and max_tokens is not None:
            raise ValueError("--max-tokens is for images that are cut anew: leave it out with --tokens")
        if batch_size < 1:
            raise ValueError(f"--batch-size is {batch_size}: use 1 or more")
        images = limited(read_clevr(data, split), limit)
        try:
            from subobject.language.captioner import Captioner
            from subobject.tokens.store import TokenStore
            from subobject.training import caption_evaluation as evaluation
        except ImportError as error:
            fail(f'a language model needs {error.name or error}: pip install "subobject[train]"')
        captioner = Captioner.from_pretrained(model, runtime=common.runtime.value, device=common.device.value)
        if tokens is None:
            source = evaluation.cut_tokens(captioner, images, max_tokens)
        else:
            store = TokenStore.open(tokens)
            captioner.processor.check_tokens(store.settings)
            source = evaluation.stored_tokens(store, images)
        with progress(len(images), "captions") as advance:
            found = evaluation.predict(captioner, images, source, colour=colour, batch_size=batch_size, advance=advance)
            predictions = list(found)
        if output is not None:
            evaluation.write_predictions(output, predictions, images, colour=colour)
        scores = evaluation.summarise(captioner.model, predictions, images, colour=colour)
    emit(scores, "\n".join(f"{key:14s}{value:.6g}" for key, value in scores.items()), common.as_json)
