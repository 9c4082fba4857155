"""The base install: no torch, small, and able to tokenize offline, from an environment of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIMIT_MB = 600


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """An environment with nothing but ``pip install .``."""
    folder = tmp_path_factory.mktemp("base") / "env"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", ROOT]
    subprocess.run(pip, check=True, cwd=folder)
    return folder


def test_it_has_neither_torch_nor_opencv(base):
    code = "import importlib.util as u; print(*[name for name in ('torch', 'transformers', 'cv2') if u.find_spec(name)])"
    found = subprocess.run([base / "bin" / "python", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_it_is_small(base):
    size = sum(path.stat().st_size for path in base.rglob("*") if path.is_file() and not path.is_symlink())
    assert size / 1e6 < LIMIT_MB


def test_it_tokenizes_and_decodes_a_photograph_offline(base, photos, tmp_path):
    # No proxy answers at this address: any attempt to reach a network fails.
    offline = {**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"}
    command = base / "bin" / "subobject"
    for arguments in (
        ["tokenize", photos / "chelsea.png", "-o", "out", "--max-tokens", "32", "--overlay"],
        ["decode", "out"],
    ):
        result = subprocess.run([command, *arguments], cwd=tmp_path, env=offline, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {
        "manifest.json",
        "chelsea.overlay.png",
        "chelsea.decoded.png",
    }


@pytest.mark.parametrize(("options", "extra"), [(["--runtime", "torch"], "torch"), (["--segmenter", "slic"], "classical")])
def test_what_needs_an_extra_says_how_to_get_it(base, photos, options, extra):
    command = [base / "bin" / "subobject", "tokenize", photos / "chelsea.png", *options]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert f'pip install "subobject[{extra}]"' in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("segmenter", ["gradient", "patches"])
def test_it_segments_without_a_network(base, photos, tmp_path, segmenter):
    command = [base / "bin" / "subobject", "segment", photos / "chelsea.png", "-o", tmp_path, "--segmenter", segmenter]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "chelsea.png").is_file()
