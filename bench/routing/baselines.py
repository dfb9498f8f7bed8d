"""The methods that ours is compared with. Each predicts quality [n, M] for test rows; cost predictions are ours for
all.

`per_task` and `label_table` read labels of the test rows, which no router has; they are there as a measure. `oracle`
reads the outcomes themselves.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

from bench.routing.fit import kinds_of
from bench.routing.minilm import MiniLM
from bench.routing.outcomes import Outcomes

NEIGHBOURS = 40
CLUSTERS = 32
RIDGE_PENALTY = 2.0
SHRINKAGE = 5.0  # rows of the overall mean that every cell of a table begins with
LENGTH_BINS = np.linspace(3, 8, 15)  # of the logarithm of the characters
COMPONENTS = 50
BLOCK = 512  # test rows at a time: all at once would be hundreds of megabytes
LEAST_TEXTS = 2  # that have a word, unless there are few texts


def predict_all(
    train: Outcomes, test: Outcomes, minilm: MiniLM | None, without: frozenset[str] = frozenset()
) -> dict[str, np.ndarray]:
    """Quality predictions by method, in the order of the report."""
    words = _Words(train, test)
    methods: Mapping[str, Callable[[], np.ndarray]] = {
        "length": lambda: _table(_lengths(train), train.score, _lengths(test)),
        "per_task": lambda: _table(train.task, train.score, test.task),
        "tfidf_ridge": words.ridge,
        "tfidf_knn": words.neighbours,
        "kmeans": words.clusters,
        "label_table": lambda: _table(kinds_of(train), train.score, _kinds(train, test)),
        "oracle": lambda: test.score,
    }
    found = {name: method() for name, method in methods.items() if name not in without}
    if minilm is not None and "minilm_knn" not in without:
        found["minilm_knn"] = _nearest(minilm.embed(test.prompts), minilm.embed(train.prompts), train.score)
    return found


class _Words:
    """Methods on scikit-learn's TF-IDF of the same glance that ours has."""

    def __init__(self, train: Outcomes, test: Outcomes) -> None:
        least = LEAST_TEXTS if len(train) >= 20 else 1
        vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=least)
        self._train = vectorizer.fit_transform([question.text for question in train.questions])
        self._test = vectorizer.transform([question.text for question in test.questions])
        self._score = train.score

    def ridge(self) -> np.ndarray:
        model = Ridge(alpha=RIDGE_PENALTY, solver="lsqr").fit(self._train, self._score)
        return np.asarray(model.predict(self._test)).reshape(-1, self._score.shape[1])

    def neighbours(self) -> np.ndarray:
        return _nearest(self._test, self._train, self._score)

    def clusters(self) -> np.ndarray:
        smaller = TruncatedSVD(min(COMPONENTS, self._train.shape[1] - 1), random_state=0)
        known = smaller.fit_transform(self._train)
        distinct = len(np.unique(known.round(6), axis=0))
        means = KMeans(min(CLUSTERS, distinct), n_init=2, random_state=0).fit(known)
        return _table(means.labels_, self._score, means.predict(smaller.transform(self._test)))


def _table(labels: np.ndarray, score: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Mean scores by label, shrunk to the overall mean."""
    overall = score.mean(0)
    cells = {}
    for label in set(labels.tolist()):
        at = labels == label
        cells[label] = (score[at].sum(0) + SHRINKAGE * overall) / (at.sum() + SHRINKAGE)
    return np.array([cells.get(label, overall) for label in wanted.tolist()])


def _nearest(test: Any, train: Any, score: np.ndarray) -> np.ndarray:
    """Mean scores of the most similar training rows; both matrices have rows of length 1, sparse or not."""
    count = min(NEIGHBOURS, train.shape[0])
    found = np.zeros((test.shape[0], score.shape[1]))
    for start in range(0, test.shape[0], BLOCK):
        similar = test[start : start + BLOCK] @ train.T
        similar = similar.toarray() if hasattr(similar, "toarray") else similar
        nearest = np.argpartition(-similar, count - 1, axis=1)[:, :count]
        found[start : start + BLOCK] = score[nearest].mean(1)
    return found


def _lengths(outcomes: Outcomes) -> np.ndarray:
    return np.digitize(np.log([max(question.chars, 1) for question in outcomes.questions]), LENGTH_BINS)


def _kinds(train: Outcomes, test: Outcomes) -> np.ndarray:
    """True kinds of test rows, named as the training rows' are."""
    known = set(kinds_of(train).tolist())
    fine = [f"{dataset}:{subject}" for dataset, subject in zip(test.dataset, test.subject, strict=True)]
    return np.array([kind if kind in known else str(dataset) for kind, dataset in zip(fine, test.dataset, strict=True)])
