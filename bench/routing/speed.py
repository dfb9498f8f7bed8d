"""CPU time of a choice, one prompt at a time, with the code that serves requests."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from bench.routing.fit import Router
from bench.routing.pack import pack
from routing.selection.features import Question
from routing.selection.weights import RegimeName, Weights

PROMPTS = 400
ROUNDS = 3


def microseconds(work: Callable[[Question], object], questions: Sequence[Question], rounds: int = ROUNDS) -> np.ndarray:
    """CPU time of each call (`time.thread_time`), all rounds."""
    for question in questions[:20]:
        work(question)  # caches of words and branches are warm, as they are in a server
    spent = []
    for _ in range(rounds):
        for question in questions:
            start = time.thread_time_ns()
            work(question)
            spent.append((time.thread_time_ns() - start) / 1e3)
    return np.array(spent)


def chooser(router: Router, name: str) -> Callable[[Question], int]:
    """Reads a question by the packed weights, scores and prices the models of a file, and takes the balanced choice."""
    weights = Weights.of(pack(router, {}, {}))
    heads = {}
    for (file, regime), head in router.heads.items():
        if file == name:
            table = np.column_stack([head.weights, head.cost_weights]).astype(np.float32)
            heads[regime] = (table, head.base.astype(np.float32), head)
    usual: RegimeName = "plain" if "plain" in heads else "tools"

    def choose(question: Question) -> int:
        reading = weights.read(question)
        table, base, head = heads.get(reading.regime) or heads[usual]
        x = np.concatenate((reading.vector, reading.mix))
        out = x @ table
        count = len(base)
        error = np.sqrt(float(x @ head.covariance @ x) * head.spread)
        bound = 1 / (1 + np.exp(0.8416 * error - out[:count] - base))
        cost = np.exp(np.minimum(np.maximum(out[count:], head.cost_low), head.cost_high)) * head.cost_factor
        return int(np.where(bound >= 0.95 * bound.max(), cost, np.inf).argmin())

    return choose
