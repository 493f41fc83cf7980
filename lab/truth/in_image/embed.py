"""Embeds texts with the model of the image that this runs in: a JSON line about them, then float32 rows.

Input: one JSON object a line with `text`. Output file: `{"n", "dim", "model", "model_sha256"}`, a line break, then
`n * dim` little-endian float32.
"""

import argparse
import hashlib
import json
import os
from pathlib import Path

import numpy as np
from fastembed import TextEmbedding  # type: ignore[import-not-found]

MODEL = os.environ.get("LAB_EMBEDDING_MODEL", "sentence-transformers/all-MiniLM-L6-v2")
# One at a time: texts of different length in a batch are padded to the longest: slower, and 5x the memory.
BATCH = 1


def model_digest(model: TextEmbedding) -> str:
    """SHA-256 over the model's weights as they lie in the image."""
    folder = Path(str(model.model._model_dir))
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.onnx")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def main() -> None:
    """Embed everything in `--input` into `--output`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True)
    options = parser.parse_args()
    with open(options.input, encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    model = TextEmbedding(MODEL)
    vectors = np.asarray(list(model.embed(texts, batch_size=BATCH)), dtype="<f4")
    head = {
        "n": len(vectors),
        "dim": int(vectors.shape[1]),
        "model": MODEL,
        "model_sha256": model_digest(model),
    }
    with open(options.output, "wb") as output:
        output.write(json.dumps(head).encode() + b"\n")
        output.write(vectors.tobytes())


if __name__ == "__main__":
    main()
