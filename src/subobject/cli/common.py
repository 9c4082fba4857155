"""What the commands share: options, messages, progress, exit statuses."""

import dataclasses
import functools
import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_type_hints

import typer

OK, SOME_FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

Sources = Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Image files, folders or globs.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="DIR", help="Folder for the results.")]
MaxTokens = Annotated[int | None, typer.Option("--max-tokens", metavar="K", help="Largest number of segments an image.")]
Threshold = Annotated[
    float | None, typer.Option("--threshold", metavar="T", help="Boundary strength in [0, 1] below which regions merge.")
]
SegmenterName = Annotated[str, typer.Option("--segmenter", metavar="NAME", help="How images are cut.")]
BoundaryWeights = Annotated[
    str | None, typer.Option("--boundary-weights", metavar="NAME", help="Release, folder or hub id of the boundary network.")
]
Overlay = Annotated[bool, typer.Option("--overlay", help="Also write NAME.overlay.png: borders, and segments in mean colour.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Log details and tracebacks to stderr.")]


class Runtime(StrEnum):
    """What runs the networks."""

    auto = "auto"
    torch = "torch"
    onnx = "onnx"
    openvino = "openvino"


class Device(StrEnum):
    """Where the networks run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


RuntimeOption = Annotated[Runtime, typer.Option("--runtime", help="What runs the networks.")]
DeviceOption = Annotated[Device, typer.Option("--device", help="Where the networks run.")]


@dataclasses.dataclass(frozen=True)
class CommonOptions:
    """What every command takes that runs networks and prints results; see ``spread``."""

    runtime: RuntimeOption = Runtime.auto
    device: DeviceOption = Device.auto
    as_json: Json = False


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the dataclasses among its parameters, each field an option of its own.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Common:
        ...     name: str
        ...     json: bool = False
        >>> @spread
        ... def greet(common: Common, loud: bool = False) -> None:
        ...     print(common, loud)
        >>> list(inspect.signature(greet).parameters)
        ['name', 'json', 'loud']
        >>> greet(name="Ada", json=True, loud=False)
        Common(name='Ada', json=True) False
    """
    parameters: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for parameter in inspect.signature(command).parameters.values():
        group = parameter.annotation
        if not dataclasses.is_dataclass(group):
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        groups[parameter.name] = group
        hints = get_type_hints(group, include_extras=True)
        for one in dataclasses.fields(group):
            default = inspect.Parameter.empty if one.default is dataclasses.MISSING else one.default
            parameters.append(
                inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[one.name])
            )

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{one.name: values.pop(one.name) for one in dataclasses.fields(group)})
        command(**values)

    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper


def fail(message: str, status: int = WRONG_USAGE) -> NoReturn:
    """Print one sentence on stderr and exit."""
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(status)


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn a wrong value or a missing package in the block into one sentence and exit status 2."""
    try:
        yield
    except (ValueError, ModuleNotFoundError) as error:
        fail(str(error))


def emit(values: dict[str, Any], text: str, as_json: bool) -> None:
    """Print a result on stdout, as a JSON line or for people."""
    typer.echo(json.dumps(values) if as_json else text)


@contextmanager
def progress(total: int, what: str) -> Iterator[Any]:
    """Show a progress bar on stderr where it is a terminal; yields a function that advances it by one."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal or total < 2, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
