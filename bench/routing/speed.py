"""CPU time of reading and scoring, one prompt at a time, with the code that serves requests.

`python -m bench.routing.speed` measures the shipped weights with 60 models of the catalogue.
"""

import random
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from bench.routing.fit import Router
from bench.routing.pack import pack
from routing.providers.base import ChatRequest
from routing.selection.features import Question, read_question
from routing.selection.market import ModelFacts
from routing.selection.quality import Quality, Strengths
from routing.selection.weights import RegimeName, Weights
from routing.selection.words import TASKS

PROMPTS = 400
ROUNDS = 3
MODELS = 60
BENCH_PROMPT = "What is quantum computing? Explain it in simple terms please."  # of `make bench`
LONG_CHARACTERS = 4_000


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
        x = reading.known[len(TASKS) :]
        out = x @ table
        count = len(base)
        error = np.sqrt(float(x @ head.covariance @ x) * head.spread)
        bound = 1 / (1 + np.exp(0.8416 * error - out[:count] - base))
        cost = np.exp(np.minimum(np.maximum(out[count:], head.cost_low), head.cost_high)) * head.cost_factor
        return int(np.where(bound >= 0.95 * bound.max(), cost, np.inf).argmin())

    return choose


def main() -> int:
    """Print the times of the prompt of `make bench` and of prompts of 4,000 characters."""
    strengths = Strengths.load()
    weights = Weights.load()
    quality = Quality.build(weights, [ModelFacts(model) for model in list(strengths.models)[:MODELS]], strengths)
    chance = random.Random(0)
    words = [word for text in strengths.models for word in text.replace("/", "-").split("-")]
    long = [" ".join(chance.choices(words, k=1_200))[:LONG_CHARACTERS] + "?" for _ in range(50)]
    for name, prompts in (("the prompt of `make bench`", [BENCH_PROMPT] * 50), ("4,000 characters", long)):
        chats = {prompt: ChatRequest("auto", [{"role": "user", "content": prompt}], {}) for prompt in prompts}

        def whole(question: Question, chats: dict[str, ChatRequest] = chats) -> object:
            return quality.score(weights.read(read_question(chats[question.text])))

        asked = [Question(text=prompt, chars=len(prompt)) for prompt in prompts]
        p50, p99 = np.percentile(microseconds(whole, asked, rounds=20), (50, 99))
        print(f"{name}, {MODELS} models: P50 {p50:.0f} us, P99 {p99:.0f} us")
    return 0


if __name__ == "__main__":
    sys.exit(main())
