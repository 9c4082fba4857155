"""Turn the final weights of a training run into a release in the package's assets: safetensors, ONNX, checksums.

Write the model card first (README.md in the release's folder), by hand, with figures from benchmarks/results.

    python benchmarks/export_release.py boundarynet.bsds500 runs/boundaries_small/final
    python benchmarks/export_release.py seqae.bsds500 runs/seqae_small/final
    python benchmarks/export_release.py patch.bsds500 runs/patch_small/final
    python benchmarks/export_release.py boundarynet.clevr runs/boundaries_clevr/final
    python benchmarks/export_release.py captioner.clevr runs/clevr_comparison/runs/subobject-seed0/final

Parameters are rounded to float16 first, and ONNX is exported from the rounded ones, so that both files hold the same network; the
ONNX file reads weights from the safetensors file where both have them. The linear autoencoder of patches needs no ONNX.
A captioner names the releases whose tokens it reads: export these networks first.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from subobject.boundaries.export import export_onnx as export_boundary_network
from subobject.boundaries.network import BoundaryNet
from subobject.embeddings.export import export_onnx as export_seqae
from subobject.embeddings.linear import LinearAutoencoder
from subobject.embeddings.seqae import SeqAE
from subobject.language.adapters import load
from subobject.language.origin import Origin
from subobject.language.processing import SubobjectProcessor
from subobject.onnx_export import share_weights
from subobject.tokens.tokenizer import SubobjectTokenizer
from subobject.weights import RELEASES, Kind, Release, load_torch, write_checksums

SAFETENSORS = "model.safetensors"


def export_network(model_class: Any, export: Callable[[Any, Path], Any] | None, release: Release, final: Path) -> None:
    """Write a network: configuration, safetensors and, where there is an ``export``, ONNX."""
    model = load_torch(model_class, final)
    for parameter in model.parameters():
        parameter.data = parameter.data.half().float()
    release.folder.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(release.folder)
    parameters = {name for name, _ in model.named_parameters()}
    tensors = {name: tensor.half() if name in parameters else tensor for name, tensor in model.state_dict().items()}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, release.folder / SAFETENSORS, {"format": "pt"})
    if export is not None:
        with torch.inference_mode():
            export(model, release.folder)
        for onnx in release.folder.glob("*.onnx"):
            share_weights(onnx, release.folder / SAFETENSORS)
    if "preprocessor_config.json" in release.files:
        values = {"image_mean": model.config.image_mean, "image_std": model.config.image_std, "rescale_factor": 1 / 255}
        (release.folder / "preprocessor_config.json").write_text(json.dumps(values, indent=2) + "\n")


def export_captioner(release: Release, final: Path) -> None:
    """Write a language model in float16 with its processor, which names the releases that cut images."""
    processor = SubobjectProcessor.from_pretrained(final)
    cutter = processor.image_tokenizer
    names = {
        "boundary_weights": released_name(getattr(cutter.segmenter.boundary_model, "folder", None), "boundaries"),
        "embedder_weights": released_name(getattr(cutter.embedder, "folder", None), "embedder"),
    }
    config = replace(cutter.config, **names)
    origin = Origin.of_tokens(release.data, SubobjectTokenizer.from_pretrained(**asdict(config)).settings())
    model = load(final)
    for parameter in model.parameters():
        parameter.data = parameter.data.half()
    model.save_pretrained(release.folder)
    SubobjectProcessor(processor.tokenizer, config, prompt=processor.prompt, trained_on=origin).save_pretrained(release.folder)


def released_name(folder: Path | None, kind: Kind) -> str | None:
    """Return the release of the network in a folder, which may be the one before rounding; None where there is no network."""
    if folder is None:
        return None
    ours = load_file(folder / SAFETENSORS)
    for release in RELEASES.values():
        if release.kind == kind and release.installed:
            theirs = load_file(release.folder / SAFETENSORS)
            if ours.keys() == theirs.keys() and all(torch.equal(ours[name].half(), theirs[name].half()) for name in ours):
                return release.name
    raise SystemExit(f"the captioner was trained on tokens of {folder}, which is no release: export that network first")


EXPORTERS: dict[str, Callable[[Release, Path], None]] = {
    "boundarynet": partial(export_network, BoundaryNet, export_boundary_network),
    "seqae": partial(export_network, SeqAE, export_seqae),
    "patch": partial(export_network, LinearAutoencoder, None),
    "captioner": export_captioner,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("release", choices=sorted(RELEASES))
    parser.add_argument("final", type=Path, help="folder with the final weights of a training run")
    arguments = parser.parse_args()
    release = RELEASES[arguments.release]
    EXPORTERS[release.architecture](release, arguments.final)
    if (release.folder / "README.md").exists():
        write_checksums()
    else:
        print(f"not released yet: write {release.folder / 'README.md'}, and run this again")
    for path in sorted(path for path in release.folder.rglob("*") if path.is_file()):
        print(f"{path.stat().st_size / 1e6:8.2f} MB  {path.relative_to(release.folder)}")


if __name__ == "__main__":
    main()
