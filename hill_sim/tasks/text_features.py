"""Texts as vectors: tf-idf and SVD fitted on the training texts, or a pretrained sentence encoder."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence

import numpy as np

from hill_sim.errors import InvalidInput, Unavailable
from hill_sim.tasks.cache import cached
from hill_sim.types import Array

FEATURES = ("tfidf-svd", "sentence")
PARSER_VERSION = 1
VOCABULARY = 20_000  # the most frequent words and word pairs of the training texts


def features_of(name: str, texts: Sequence[str], train: Array, features: str, dimensions: int, encoder: str) -> Array:
    """[N, D] float32, each dimension standardised over the training rows.

    Args:
        train: [n] rows to fit on.
    """
    # The texts, not their file: which columns they were put together from matters as well.
    content = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
    key = {"texts": content, "train": np.asarray(train).tolist(), "features": features}
    if features == "tfidf-svd":
        key["dimensions"] = dimensions
        made = cached(name, PARSER_VERSION, key, lambda: {"x": _tfidf_svd(name, texts, train, dimensions)})
    else:
        key["encoder"] = encoder
        made = cached(name, PARSER_VERSION, key, lambda: {"x": _standardised(_encoded(texts, encoder), train)})
    return made["x"]


def _tfidf_svd(name: str, texts: Sequence[str], train: Array, dimensions: int) -> Array:
    """Latent semantic analysis (Deerwester et al. 1990) of words and word pairs, log counts, cosine-normalised."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    words = TfidfVectorizer(
        sublinear_tf=True, ngram_range=(1, 2), min_df=2, max_features=VOCABULARY, stop_words="english", dtype=np.float32
    )
    try:
        fitted = words.fit_transform([texts[row] for row in train])
    except ValueError as error:
        raise InvalidInput(f"task {name}: the training texts have no words in common ({error})") from None
    if fitted.shape[1] <= dimensions:
        given = f"task_options.dimensions: {dimensions}"
        raise InvalidInput(f"{given} is not below the {fitted.shape[1]} words that two training texts share")
    svd = TruncatedSVD(dimensions, random_state=0).fit(fitted)
    return _standardised(normalize(svd.transform(words.transform(texts))), train)


def _encoded(texts: Sequence[str], encoder: str) -> Array:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        hint = "pip install 'hill-sim[text]', or features=tfidf-svd"
        raise Unavailable(f"task_options.features: 'sentence' needs sentence-transformers: {hint}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other people's libraries, about other people's libraries
            model = SentenceTransformer(encoder)
    except OSError as error:
        reason = (str(error).splitlines() or [""])[0]
        raise Unavailable(f"task_options.encoder: {encoder!r} cannot be loaded ({reason})") from None
    return np.asarray(model.encode(list(texts), show_progress_bar=False), dtype=np.float32)


def _standardised(x: Array, train: Array) -> Array:
    mean, deviation = x[train].mean(axis=0), np.maximum(x[train].std(axis=0), 1e-6)
    result: Array = ((x - mean) / deviation).astype(np.float32)
    return result
