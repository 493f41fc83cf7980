"""Makes the corpus and its embeddings with the target's own image, and caches both by their content."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import docker
import numpy as np

from lab.errors import ScenarioError, WorldError
from lab.probes.recall import TruthQuery
from lab.truth.neighbours import Vectors, truth_queries
from lab.truth.oneshot import SCRIPTS, run_script

CORPUS_TIMEOUT_S = 120.0
EMBED_TIMEOUT_S = 420.0


@dataclass(frozen=True, slots=True)
class Document:
    """One text of the corpus, of at most 900 characters, so that no target splits it into chunks."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Truth:
    """The documents to load, the queries to ask, and what each must find. `vectors` is `float32[len(documents), d]`."""

    documents: tuple[Document, ...]
    to_write: tuple[Document, ...]
    queries: tuple[TruthQuery, ...]
    vectors: Vectors
    corpus_sha256: str
    model_sha256: str


@dataclass(frozen=True, slots=True)
class CorpusRequest:
    """The corpus that is wanted: the texts in `folder`, or the standard library of the image's Python if it is None."""

    image: str
    image_id: str
    documents: int
    to_write: int
    queries: int
    k: int
    folder: Path | None = None


def build_truth(
    client: docker.DockerClient, request: CorpusRequest, cache: Path, project: str, say: Callable[[str], None]
) -> Truth:
    """The truth for a request. It is made once for each image and corpus, then read from the cache."""
    corpus = _corpus(client, request, cache, project, say)
    documents = [Document(row["id"], row["text"]) for row in corpus]
    if len(documents) < request.documents + request.queries // 10:
        raise ScenarioError(
            f"the corpus has {len(documents)} texts; {request.documents} are needed as truth, and some more for writes",
            where=str(request.folder or request.image),
            try_="give a folder with more text, or leave --corpus out",
        )
    truth, rest = documents[: request.documents], documents[request.documents :]
    asked = [(row["id"], row["doc"]) for row in corpus if len(row["doc"].split()) >= 4][: request.queries]
    vectors, model = _embeddings(client, request, [(d.id, d.text) for d in truth], cache, project, say)
    query_vectors, _ = _embeddings(client, request, asked, cache, project, say)
    ids, texts = [row[0] for row in asked], [row[1] for row in asked]
    queries = truth_queries(ids, texts, query_vectors, [d.id for d in truth], vectors, request.k)
    return Truth(
        documents=tuple(truth),
        to_write=tuple(rest[: request.to_write]),
        queries=tuple(queries),
        vectors=vectors,
        corpus_sha256=_digest(json.dumps([(d.id, d.text) for d in truth])),
        model_sha256=model,
    )


def _corpus(
    client: docker.DockerClient, request: CorpusRequest, cache: Path, project: str, say: Callable[[str], None]
) -> list[dict[str, str]]:
    wanted = request.documents + request.to_write
    arguments, files, key = ["--max-documents", str(wanted)], {}, request.image_id
    if request.folder is not None:
        files = {"corpus.tar": _folder_archive(request.folder)}
        arguments += ["--corpus-tar", "/lab/corpus.tar"]
        key += _digest_bytes(files["corpus.tar"])
    key = _digest(key + str(wanted) + (SCRIPTS / "corpus.py").read_text(encoding="utf-8"))
    path = cache / f"corpus-{key[:24]}.jsonl"
    if not path.is_file():
        say(f"cutting a corpus of {wanted} texts")
        output = run_script(
            client,
            request.image,
            "corpus.py",
            arguments,
            files=files,
            timeout_s=CORPUS_TIMEOUT_S,
            project=project,
        )
        _keep(path, output)
    # Not splitlines(): it would also split inside a text, at U+2028 for example.
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def _embeddings(
    client: docker.DockerClient,
    request: CorpusRequest,
    texts: list[tuple[str, str]],
    cache: Path,
    project: str,
    say: Callable[[str], None],
) -> tuple[Vectors, str]:
    """The embeddings by the target image's own model, `float32[len(texts), d]`, and the hash of the model."""
    rows = "".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in texts).encode()
    key = _digest(request.image_id + _digest_bytes(rows) + (SCRIPTS / "embed.py").read_text(encoding="utf-8"))
    path = cache / f"embeddings-{key[:24]}.f32"
    if not path.is_file():
        say(f"embedding {len(texts)} texts with the target's own model")
        output = run_script(
            client,
            request.image,
            "embed.py",
            ["--input", "/lab/texts.jsonl"],
            files={"texts.jsonl": rows},
            timeout_s=EMBED_TIMEOUT_S,
            project=project,
        )
        _keep(path, output)
    return _decode(path.read_bytes(), len(texts), path)


def _decode(data: bytes, wanted: int, path: Path) -> tuple[Vectors, str]:
    head, _, body = data.partition(b"\n")
    header = json.loads(head)
    vectors = np.frombuffer(body, dtype="<f4").reshape(header["n"], header["dim"])
    if len(vectors) != wanted:
        path.unlink(missing_ok=True)
        raise WorldError(
            f"{len(vectors)} embeddings were made for {wanted} texts", where=str(path), try_="run again"
        )
    return vectors, str(header["model_sha256"])


def _folder_archive(folder: Path) -> bytes:
    """A user's texts as a tar archive, sorted and without times, so that equal folders have equal hashes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and path.suffix in (".txt", ".md", ".py", ".rst"):
                entry = tarfile.TarInfo(str(path.relative_to(folder)))
                entry.size = path.stat().st_size
                with path.open("rb") as file:
                    archive.addfile(entry, file)
    return buffer.getvalue()


def _keep(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_bytes(content)
    draft.replace(path)


def _digest(text: str) -> str:
    return _digest_bytes(text.encode())


def _digest_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
