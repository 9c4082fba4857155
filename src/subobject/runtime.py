"""Runs a network behind one call, whatever executes it: torch, onnxruntime or OpenVINO; only the one in use is imported."""

import functools
import importlib.metadata
import importlib.util
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from subobject.registry import lookup

DEVICES = ("auto", "cpu", "cuda", "mps")
_INSTALL = {
    "torch": 'pip install "subobject[torch]"',
    "openvino": 'pip install "subobject[openvino]"',
    "onnxruntime": "pip install onnxruntime",
}
TorchFactory = Callable[[], Any]
_Run = Callable[[dict[str, np.ndarray]], tuple[np.ndarray, ...]]


@dataclass(frozen=True)
class Network:
    """A network ready to run; call it with named arrays, it returns its outputs in order.

    Attributes:
        runtime: ``torch``, ``onnx`` or ``openvino``.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps`` ...
        run: Inputs by name to outputs.
    """

    runtime: str
    device: str
    run: _Run = field(repr=False)

    def __call__(self, **inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run once; floating-point outputs are float32."""
        return self.run(inputs)


def open_network(
    *,
    onnx: Path | None,
    torch_factory: TorchFactory | None,
    runtime: str = "auto",
    device: str = "auto",
    threads: int | None = None,
) -> Network:
    """Open a network on the best runtime there is, or on the one asked for.

    ``auto`` takes torch on an accelerator; on the CPU OpenVINO if installed, else onnxruntime, else torch, the order of their
    speed. All compute in float32 and agree to about 1e-5.

    Args:
        onnx: The exported network, for onnxruntime and OpenVINO; None if there is none.
        torch_factory: Makes the ``torch.nn.Module``, which is called with named tensors and returns a tensor, a tuple of
            tensors, or an object with ``logits``; None if there is none.
        runtime: ``auto``, ``torch``, ``onnx`` or ``openvino``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:<index>`` or ``mps``.
        threads: CPU threads; None leaves the choice to the runtime. In torch the number holds for the whole process.

    Raises:
        ValueError: If the runtime or device is unknown, or does not fit this network or this machine.
        ModuleNotFoundError: If the package of the runtime is not installed; the message says how to install it.
    """
    lookup({"auto": None, **_OPENERS}, runtime, "runtime")
    lookup(dict.fromkeys(DEVICES), device.partition(":")[0], "device")
    if onnx is None and torch_factory is None:
        raise ValueError("the network has neither an ONNX file nor torch weights: give one of them")
    has_torch = torch_factory is not None and _installed("torch")
    if device == "auto":
        device = _best_torch_device() if has_torch and runtime in ("auto", "torch") else "cpu"
    if runtime == "auto":
        if onnx is None or (device != "cpu" and has_torch):
            runtime = "torch"
        else:
            runtime = "openvino" if device == "cpu" and _installed("openvino") else "onnx"
    return Network(runtime, device, _OPENERS[runtime](onnx, torch_factory, device, threads))


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _require(package: str) -> None:
    if not _installed(package):
        raise ModuleNotFoundError(f"{package} is not installed: {_INSTALL[package]}")


def torch_device(device: str) -> str:
    """Return the device that torch shall use: ``auto`` is the best there is.

    Raises:
        ValueError: If torch does not find it.
    """
    import torch

    if device == "auto":
        return _best_torch_device()
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available[device.partition(":")[0]]:
        raise ValueError(f"torch finds no {device} device on this machine: use device='cpu', or install a torch build for it")
    return device


def _best_torch_device() -> str:
    if importlib.metadata.version("torch").endswith("+cpu"):
        return "cpu"  # saves the import of torch where another runtime will do
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _open_torch(onnx: Path | None, factory: TorchFactory | None, device: str, threads: int | None) -> _Run:
    if factory is None:
        raise ValueError("the network has no torch weights (model.safetensors): use runtime='onnx'")
    _require("torch")
    import torch

    device = torch_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    module = factory().eval().to(device)

    def run(inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact:
            output = module(**{name: torch.as_tensor(value, device=device) for name, value in inputs.items()})
        output = getattr(output, "logits", output)
        outputs = output if isinstance(output, (tuple, list)) else (output,)
        return tuple((one.float() if one.is_floating_point() else one).cpu().numpy() for one in outputs)

    return run


def _open_onnx(onnx: Path | None, factory: TorchFactory | None, device: str, threads: int | None) -> _Run:
    path = _require_file(onnx)
    _require("onnxruntime")
    import onnxruntime

    kind, _, index = device.partition(":")
    providers: list[Any] = ["CPUExecutionProvider"]
    if kind == "cuda":
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise ValueError("onnxruntime has no CUDA support here: pip install onnxruntime-gpu, or use device='cpu'")
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": int(index or 0), "use_tf32": 0}))
    elif kind != "cpu":
        raise ValueError(f"onnxruntime does not run on {device} here: use device='cpu' or runtime='torch'")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.use_deterministic_compute = True
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    return lambda inputs: tuple(session.run(None, inputs))


def _open_openvino(onnx: Path | None, factory: TorchFactory | None, device: str, threads: int | None) -> _Run:
    path = _require_file(onnx)
    _require("openvino")
    if device != "cpu":
        raise ValueError(f"openvino does not run on {device} here: use device='cpu' or runtime='torch'")
    # Without the hint the plugin computes in bfloat16 where the processor can, with errors of about 1e-3. Its cache of what it
    # has prepared for shapes of inputs holds thousands by default, which photographs of many sizes would fill for hours.
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "CPU_RUNTIME_CACHE_CAPACITY": 16,
    }
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    with _without_links(path) as file:
        compiled = _openvino_core().compile_model(str(file), "CPU", settings)

    def run(inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        results = compiled.create_infer_request().infer(inputs)
        return tuple(np.array(results[output]) for output in compiled.outputs)

    return run


@contextmanager
def _without_links(path: Path) -> Iterator[Path]:
    """Yield the ONNX file itself, or a copy beside the weights that it shares if these are links, as in the cache of the hub.

    OpenVINO reads no weights through a link that leads out of the folder.
    """
    if not path.is_symlink():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        for file in (path, *path.parent.glob("*.safetensors")):
            shutil.copyfile(file, Path(folder) / file.name)
        yield Path(folder) / path.name


@functools.cache
def _openvino_core() -> Any:
    """Return the one OpenVINO core of this process.

    Each core's CPU plugin sets the signal stack of the thread, and puts back at its end the one it found. Of two that end in the
    order they began, the second puts back memory that the first has freed, and the next signal kills the process.
    """
    import openvino

    return openvino.Core()


def _require_file(onnx: Path | None) -> Path:
    if onnx is None:
        raise ValueError("the network has no ONNX file: use runtime='torch', or export one with export_onnx")
    return onnx


_OPENERS: dict[str, Callable[[Path | None, TorchFactory | None, str, int | None], _Run]] = {
    "torch": _open_torch,
    "onnx": _open_onnx,
    "openvino": _open_openvino,
}
