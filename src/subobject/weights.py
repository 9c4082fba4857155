"""The table of releases, and the way from a name, a folder or a hub id to verified files. Nothing pickled is ever read."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ASSETS = Path(__file__).parent / "assets"
CHECKSUMS = "SHA256.json"
HUB_PATTERNS = ("*.json", "*.safetensors", "*.onnx", "README.md")
Kind = Literal["boundaries", "embedder", "tokenizer"]


class WeightsError(ValueError):
    """Weights that cannot be found or trusted; the message says which and what to do."""


@dataclass(frozen=True)
class Release:
    """Weights that ship with the package.

    Attributes:
        name: ``architecture.tag``; also the name of the folder in the package's assets.
        kind: The stage they serve.
        files: Files in the folder, each verified by its SHA-256.
        licence: Of the weights.
        data: What they were trained on.
        recipe: The training recipe that made them.
        summary: What they are.
    """

    name: str
    kind: Kind
    files: tuple[str, ...]
    licence: str
    data: str
    recipe: str
    summary: str

    @property
    def architecture(self) -> str:
        """The name without its tag."""
        return self.name.partition(".")[0]

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return ASSETS / self.name


# The first release of an architecture is its default tag.
RELEASES: dict[str, Release] = {
    release.name: release
    for release in (
        Release(
            name="boundarynet.bsds500",
            kind="boundaries",
            files=("config.json", "preprocessor_config.json", "model.safetensors", "model.onnx", "README.md"),
            licence="non-commercial research and education, as its data",
            data="BSDS500, the 200 training photographs",
            recipe="recipes/boundaries_small.yaml",
            summary="convolutional boundary network, trained from scratch",
        ),
        Release(
            name="seqae.bsds500",
            kind="embedder",
            files=("config.json", "model.safetensors", "encoder.onnx", "decoder.onnx", "README.md"),
            licence="non-commercial research and education, as its data",
            data="BSDS500, segments of three annotators of the 200 training photographs",
            recipe="recipes/seqae_small.yaml",
            summary="sequence-to-sequence autoencoder of segments, trained from scratch",
        ),
    )
}


def resolve(name_or_path: str | Path, kind: Kind) -> Path:
    """Find the folder with the files of a model.

    Args:
        name_or_path: A release (``architecture.tag``, or the bare architecture for its default tag), a folder, or a hub id
            (``organisation/name``), in this order; write ``./name`` for a folder that is called like a release.
        kind: The stage that asks.

    Returns:
        A folder with ``config.json`` and safetensors or ONNX files (a tokenizer has them in the folders of its parts); files of
        a release have been verified.

    Raises:
        WeightsError: If nothing of that name exists, files are damaged, or the weights are pickled.
        ModuleNotFoundError: If a hub id is given and ``huggingface_hub`` is not installed.
    """
    release = _release(str(name_or_path), kind)
    if release is not None:
        _verify(release)
        return release.folder
    folder = Path(name_or_path)
    if not folder.is_dir():
        if not isinstance(name_or_path, str) or not re.fullmatch(r"\w[\w.-]*/[\w.-]+", name_or_path):
            known = ", ".join(sorted(one.name for one in RELEASES.values() if one.kind == kind)) or "none"
            raise WeightsError(
                f"unknown weights '{name_or_path}': no such folder, not a hub id (organisation/name), "
                f"and not a release for {kind} (known: {known})"
            )
        folder = _download(name_or_path)
    _check_files(folder, str(name_or_path), kind)
    return folder


def load_torch(model_class: Any, folder: Path) -> Any:
    """Load a ``PreTrainedModel`` from ``config.json`` and safetensors in a folder, in evaluation mode, float32, on the CPU.

    Raises:
        WeightsError: If the folder has no safetensors or they lack a parameter of the model.
    """
    import torch
    from transformers.utils import logging

    if not any(folder.glob("*.safetensors")):
        raise WeightsError(f"{folder} holds no safetensors: save the model with save_pretrained")
    shows_bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model, report = model_class.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
    finally:
        if shows_bar:
            logging.enable_progress_bar()
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise WeightsError(f"{folder} lacks {len(missing)} parameters of {model_class.__name__}, such as {missing[0]}")
    return model.eval()


def write_checksums() -> Path:
    """Record the SHA-256 of every release that is present in the assets; run it whenever weights are replaced.

    Returns:
        The file written: ``{release: {file: digest}}``.

    Raises:
        WeightsError: If a present release lacks one of its files.
    """
    digests: dict[str, dict[str, str]] = {}
    for release in RELEASES.values():
        if not release.folder.is_dir():
            continue
        missing = [name for name in release.files if not (release.folder / name).is_file()]
        if missing:
            raise WeightsError(f"{release.name} lacks {', '.join(missing)} in {release.folder}: add them or change its record")
        digests[release.name] = {name: _sha256(release.folder / name) for name in release.files}
    path = ASSETS / CHECKSUMS
    path.write_text(json.dumps(digests, indent=2) + "\n")
    return path


def _release(name: str, kind: Kind) -> Release | None:
    matches = [one for one in RELEASES.values() if one.kind == kind and name in (one.name, one.architecture)]
    return matches[0] if matches else None


def _verify(release: Release) -> None:
    path = ASSETS / CHECKSUMS
    digests = json.loads(path.read_text()) if path.is_file() else {}
    if release.name not in digests or not release.folder.is_dir():
        raise WeightsError(f"{release.name} is not part of this installation: reinstall subobject, or give a folder or hub id")
    for name in release.files:
        file = release.folder / name
        if not file.is_file() or _sha256(file) != digests[release.name].get(name):
            raise WeightsError(f"{file} is missing or damaged (its SHA-256 differs from the release): reinstall subobject")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _download(hub_id: str) -> Path:
    try:
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError
    except ModuleNotFoundError:
        raise ModuleNotFoundError(f'{hub_id} is on the hub and needs huggingface_hub: pip install "subobject[torch]"') from None
    try:
        return Path(huggingface_hub.snapshot_download(hub_id, allow_patterns=list(HUB_PATTERNS)))
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise WeightsError(f"{hub_id} is no folder here and could not be fetched from the hub: {reason}") from error


def _check_files(folder: Path, name: str, kind: Kind) -> None:
    if not (folder / "config.json").is_file():
        raise WeightsError(f"{name} holds no config.json: give a folder written by save_pretrained")
    if kind != "tokenizer" and not any(folder.glob("*.safetensors")) and not any(folder.glob("*.onnx")):
        raise WeightsError(
            f"{name} holds no .safetensors or .onnx file; pickled weights (.bin, .pt) are refused because reading them can run "
            "code: convert them with save_pretrained"
        )
