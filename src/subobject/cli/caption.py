"""``subobject caption``: images in, texts out."""

from typing import TYPE_CHECKING, Annotated

import typer

from subobject.cli.common import (
    INTERRUPTED,
    OK,
    SOME_FAILED,
    CommonOptions,
    Sources,
    emit,
    fail,
    progress,
    spread,
    usage_errors,
)

if TYPE_CHECKING:
    import numpy as np

    from subobject.images import FoundImage
    from subobject.scale.jobs import Result
    from subobject.timing import Clock


@spread
def caption(
    sources: Sources,
    *,
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="Release, folder or hub id of a captioner.")
    ] = "captioner",
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", metavar="K", help="Largest number of segments to read; that of training if unset."),
    ] = None,
    common: CommonOptions,
) -> None:
    """Describe images by a language model that reads their segments.

    Without --model it is captioner.clevr, where `subobject weights list` names it: a small model that counts and describes the
    objects of drawn scenes as in CLEVR, and is wrong about any other picture. What a captioner was trained on is said on stderr.
    --model takes any SubobjectForCausalLM that was saved with its processor; `subobject train language` makes one. Never more
    segments are read than the language model has room for: regions merge until they fit.

    Examples:

        subobject caption scene.png

        subobject caption scenes/ --model runs/clevr_small/final --json
    """
    with usage_errors():
        from subobject.images import find_images
        from subobject.registry import load_member
        from subobject.scale.jobs import Result
        from subobject.scale.local import process, stop_on_interrupt
        from subobject.tokens.tokenizer import check_budget

        check_budget(max_tokens, None)
        images = find_images(sources)
        try:
            captioner = load_member("subobject.language.captioner:Captioner").from_pretrained(
                model, runtime=common.runtime.value, device=common.device.value
            )
        except ImportError as error:
            fail(f'a language model needs {error.name or error}: pip install "subobject[torch]"')
        notice = captioner.prepare()
        if notice is not None:
            typer.echo(notice, err=True)

    def describe(image: "FoundImage", pixels: "np.ndarray", clock: "Clock") -> "Result":
        description = captioner(pixels, max_tokens=max_tokens, clock=clock)
        seconds = {stage: round(value, 4) for stage, value in clock.seconds.items()}
        return Result({"caption": description.text, "tokens": description.tokens, "seconds": seconds})

    failed = 0
    with progress(len(images), "captions") as advance, stop_on_interrupt() as stop:
        for outcome in process(images, describe, lambda image: False):
            name = str(outcome.image.path)
            if outcome.result is None:
                failed += 1
                typer.echo(f"Failed: {outcome.error}", err=True)
                if common.as_json:
                    emit({"image": name, "error": outcome.error}, "", common.as_json)
            else:
                summary = outcome.result.summary
                emit({"image": name, **summary}, f"{name}: {summary['caption']}", common.as_json)
            advance()
            if stop.is_set():
                fail("interrupted", INTERRUPTED)
    raise typer.Exit(SOME_FAILED if failed else OK)
