"""How much of a segment a SeqAE vector keeps, on photographs it was not trained on (BSDS500, split test).

    python benchmarks/seqae_quality.py WEIGHTS --data data/bsds500

WEIGHTS is a release, a folder or a hub id. Segments are those of the first annotator of each image, split into connected
components of 9 pixels or more, at the size of the photograph; they are decoded from the vector alone.
"""

import argparse
import json

import numpy as np

from _report import write_report
from subobject.data.bsds500 import read_split
from subobject.data.segment_crops import annotated_segments
from subobject.embeddings.autoencoder import SeqAEEmbedder
from subobject.embeddings.sequence import concatenate, select
from subobject.metrics.reconstruction import evaluate_crops


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="?", default="seqae")
    parser.add_argument("--data", required=True, help="folder of BSDS500")
    parser.add_argument("--split", default="test")
    parser.add_argument("--images", type=int, default=None, help="judge the first images only")
    parser.add_argument("--runtime", default="auto")
    arguments = parser.parse_args()
    embedder = SeqAEEmbedder.from_pretrained(arguments.weights, runtime=arguments.runtime)
    images = read_split(arguments.data, arguments.split)[: arguments.images]
    items = [item for image in images for item in annotated_segments(image, 1, embedder.context)]
    packed = concatenate([one for one, _ in items])
    boxes = np.concatenate([one for _, one in items])
    exact = np.nonzero(np.all(packed.sizes == boxes[:, [3, 2]] - boxes[:, [1, 0]], axis=1))[0]
    figures = {
        "all": evaluate_crops(embedder, [packed]),
        "fitting the context": evaluate_crops(embedder, [select(packed, exact)]),
    }
    payload = {
        "data": f"BSDS500 {arguments.split}, {len(images)} images, first annotator",
        "vector": embedder.dim,
        "context": embedder.context,
        "runtime": embedder.encoder.runtime,
        "figures": {name: {key: round(value, 4) for key, value in row.items()} for name, row in figures.items()},
    }
    print(json.dumps(payload["figures"], indent=2))
    print(write_report("seqae_quality", payload))


if __name__ == "__main__":
    main()
