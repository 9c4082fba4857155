"""One call for every runtime, the choice between them, and what is said when one is not there."""

import importlib.metadata
import importlib.util
import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from subobject import runtime
from subobject.runtime import open_network

X = np.random.default_rng(0).standard_normal((2, 3, 5, 7)).astype(np.float32)


class Two(nn.Module):
    """Two outputs: the sum over channels, and the halves."""

    def forward(self, x):
        return x.sum(1), x / 2


class Blob(nn.Module):
    def forward(self, x):
        return SimpleNamespace(logits=x * 2)


class Plain(nn.Module):
    def forward(self, x):
        return x * 3


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "two.onnx"
    axes = {0: "b", 2: "h", 3: "w"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(Two(), (torch.zeros(1, 3, 4, 4),), str(path), dynamo=False, input_names=["x"], dynamic_axes={"x": axes})
    return path


def hide(monkeypatch, *packages):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in packages else real(name, *rest))


OPEN_CLOSE_SIGNAL = """
import os, pathlib, signal, sys
from subobject.runtime import open_network
first, second = (open_network(onnx=pathlib.Path(sys.argv[1]), torch_factory=None, runtime="openvino") for _ in range(2))
del first, second
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGUSR1)
"""


def test_signals_are_handled_after_openvino_networks_are_gone(onnx_file):
    done = subprocess.run([sys.executable, "-c", OPEN_CLOSE_SIGNAL, onnx_file], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "handled\n")


@pytest.mark.parametrize("name", ["torch", "onnx", "openvino"])
def test_every_runtime_gives_the_same(onnx_file, name):
    network = open_network(onnx=onnx_file, torch_factory=Two, runtime=name, device="cpu", threads=1)
    assert (network.runtime, network.device) == (name, "cpu")
    total, half = network(x=X)
    assert total.dtype == half.dtype == np.float32
    np.testing.assert_allclose(total, X.sum(1), atol=1e-6)
    np.testing.assert_allclose(half, X / 2, atol=1e-6)
    np.testing.assert_array_equal(network(x=X)[0], total)


def test_torch_outputs_may_have_logits_or_be_a_tensor():
    for module, factor in ((Blob, 2), (Plain, 3)):
        (out,) = open_network(onnx=None, torch_factory=module, device="cpu")(x=X)
        np.testing.assert_array_equal(out, X * factor)


def test_auto_takes_the_fastest_on_the_cpu(onnx_file, monkeypatch):
    assert open_network(onnx=onnx_file, torch_factory=Two, device="cpu").runtime == "openvino"
    assert open_network(onnx=None, torch_factory=Two, device="cpu").runtime == "torch"
    hide(monkeypatch, "openvino")
    assert open_network(onnx=onnx_file, torch_factory=Two, device="cpu").runtime == "onnx"
    hide(monkeypatch, "openvino", "torch")
    network = open_network(onnx=onnx_file, torch_factory=Two)
    assert (network.runtime, network.device) == ("onnx", "cpu")


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(True, False, "cuda"), (False, True, "mps"), (True, True, "cuda"), (False, False, "cpu")]
)
def test_auto_device(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(importlib.metadata, "version", lambda package: "2.13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert runtime._best_torch_device() == expected


def test_a_cpu_build_of_torch_is_not_imported_to_look_for_a_device(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda package: "2.13.0+cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("asked torch"))
    assert runtime._best_torch_device() == "cpu"


@pytest.mark.parametrize(
    ("package", "name", "message"),
    [
        ("torch", "torch", r'pip install "subobject\[torch\]"'),
        ("openvino", "openvino", r'pip install "subobject\[openvino\]"'),
        ("onnxruntime", "onnx", "pip install onnxruntime"),
    ],
)
def test_missing_packages(onnx_file, monkeypatch, package, name, message):
    hide(monkeypatch, package)
    with pytest.raises(ModuleNotFoundError, match=message):
        open_network(onnx=onnx_file, torch_factory=Two, runtime=name, device="cpu")


def test_only_torch_weights_without_torch(monkeypatch):
    hide(monkeypatch, "torch")
    with pytest.raises(ModuleNotFoundError, match="torch is not installed"):
        open_network(onnx=None, torch_factory=Two)


def test_unfit_choices_are_refused(onnx_file):
    def refuse(message, onnx=onnx_file, torch_factory=Two, **options):
        with pytest.raises(ValueError, match=message):
            open_network(onnx=onnx, torch_factory=torch_factory, **options)

    refuse("unknown runtime 'onx': did you mean 'onnx'", runtime="onx")
    refuse("unknown device 'gpu'.*Known: auto, cpu, cuda, mps", device="gpu")
    refuse("neither an ONNX file nor torch weights", onnx=None, torch_factory=None)
    refuse("no ONNX file", onnx=None, runtime="onnx")
    refuse("no ONNX file", onnx=None, runtime="openvino")
    refuse("no torch weights", torch_factory=None, runtime="torch")
    refuse("openvino does not run on cuda", runtime="openvino", device="cuda")
    refuse("onnxruntime does not run on mps", runtime="onnx", device="mps")


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a device that is not there")
def test_absent_device(onnx_file):
    with pytest.raises(ValueError, match="torch finds no cuda device"):
        open_network(onnx=onnx_file, torch_factory=Two, device="cuda")
    with pytest.raises(ValueError, match="onnxruntime has no CUDA support"):
        open_network(onnx=onnx_file, torch_factory=None, runtime="onnx", device="cuda:1")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_equals_cpu():
    torch.manual_seed(0)
    module = nn.Conv2d(3, 8, 3)

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = module

        def forward(self, x):
            return self.conv(x)

    cpu = open_network(onnx=None, torch_factory=Named, device="cpu")(x=X)[0]
    gpu = open_network(onnx=None, torch_factory=Named)
    assert gpu.device == "cuda"
    np.testing.assert_allclose(gpu(x=X)[0], cpu, atol=1e-5)
