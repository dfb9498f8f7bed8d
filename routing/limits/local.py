"""The window of window.lua inside one process: what limits callers while Redis is gone.

Each process grants an equal share (limit / WORKERS, at least 1), so that all of them together stay within the
limit whatever the load balancer does. The rules are those of window.lua, number for number; a test runs both
side by side.
"""

from collections.abc import Mapping

from routing.limits.admission import NEVER_MS, PARALLEL_WAIT_MS, REFUSALS, WINDOW_S, Scope
from routing.limits.tiers import Limits

REQUESTS, TOKENS, PARALLEL, BURST = range(1, len(REFUSALS))
SHARE_WAIT_MS = 1_000  # a request above this process's share but not above the limit waits for Redis
NEVER = 10**12  # ms; longer than any real wait, so that it wins every comparison


def share_of(limits: Limits, workers: int) -> Limits:
    """What one of `workers` processes may grant on its own: an equal part, at least 1 of what is not 0."""

    def part(limit: int) -> int:
        return max(1, limit // workers) if limit else 0

    return Limits(
        part(limits.requests_per_minute),
        part(limits.tokens_per_minute),
        part(limits.parallel),
        part(limits.burst_per_s),
    )


class Window:
    """Requests and tokens of one scope in the last 61 one-second buckets, by a clock that never goes back."""

    __slots__ = ("last", "request_buckets", "requests", "second", "token_buckets", "tokens")

    def __init__(self) -> None:
        self.requests = self.tokens = 0  # sums of the buckets
        self.second = self.last = 0  # newest second known; second of the last admission
        self.request_buckets = [0] * WINDOW_S
        self.token_buckets = [0] * WINDOW_S

    def advance(self, now_ms: int) -> None:
        """Drop what has left the window by `now_ms`."""
        second = now_ms // 1000
        for gone in range(max(self.second, second - WINDOW_S) + 1, second + 1):
            slot = gone % WINDOW_S
            self.requests -= self.request_buckets[slot]
            self.tokens -= self.token_buckets[slot]
            self.request_buckets[slot] = self.token_buckets[slot] = 0
        self.second = max(self.second, second)

    def take(self, tokens: int) -> None:
        """Count one request and its tokens in the current second."""
        slot = self.second % WINDOW_S
        self.requests += 1
        self.request_buckets[slot] += 1
        self.tokens += tokens
        self.token_buckets[slot] += tokens
        self.last = self.second

    def correct(self, second: int, change: int) -> None:
        """Change the tokens counted in `second`, if it is still in the window; never below 0."""
        if self.second - WINDOW_S < second <= self.second:
            slot = second % WINDOW_S
            change = max(change, -self.token_buckets[slot])
            self.tokens += change
            self.token_buckets[slot] += change

    def full_again_ms(self, used: int, now_ms: int) -> int:
        """Until the limit of which `used` is gone is back at its full value."""
        return (self.last + WINDOW_S) * 1000 - now_ms if used > 0 else 0

    def refusal(self, limits: Limits, tokens: int, held: int | None, now_ms: int) -> tuple[int, int]:
        """What is in the way longest (an index into `REFUSALS`), and how long in ms; 0, 0 if nothing is.

        `held` are the slots in use, None where no slot is asked for.
        """
        waits: list[tuple[int, int]] = []
        if (over := self.requests + 1 - limits.requests_per_minute) > 0:
            waits.append((REQUESTS, self._wait(self.request_buckets, over, now_ms)))
        if (over := self.tokens + tokens - limits.tokens_per_minute) > 0:
            above = tokens > limits.tokens_per_minute
            waits.append((TOKENS, SHARE_WAIT_MS if above else self._wait(self.token_buckets, over, now_ms)))
        if held is not None and held >= limits.parallel:
            waits.append((PARALLEL, PARALLEL_WAIT_MS))
        if self.request_buckets[self.second % WINDOW_S] >= limits.burst_per_s:
            waits.append((BURST, (self.second + 1) * 1000 - now_ms))
        return max(waits, key=_wait_of, default=(0, 0))

    def _wait(self, buckets: list[int], need: int, now_ms: int) -> int:
        """Ms until buckets that hold at least `need` together have left the window, the oldest first."""
        age = 0
        while need > 0 and age < WINDOW_S:
            age += 1
            need -= buckets[(self.second + age) % WINDOW_S]
        return (self.second + age) * 1000 - now_ms


def _wait_of(refusal: tuple[int, int]) -> int:
    return refusal[1]


def _requests_left(counted: tuple[Window, Limits]) -> int:
    window, limits = counted
    return max(0, limits.requests_per_minute - window.requests)


def _tokens_left(counted: tuple[Window, Limits]) -> int:
    window, limits = counted
    return max(0, limits.tokens_per_minute - window.tokens)


def closed_by(limits: Limits, tokens: int, *, wants_slot: bool) -> int:
    """The limit (an index into `REFUSALS`) that this request cannot pass however long it waits; 0 if none."""
    if limits.requests_per_minute < 1:
        return REQUESTS
    if tokens > limits.tokens_per_minute:
        return TOKENS
    if wants_slot and limits.parallel < 1:
        return PARALLEL
    return BURST if limits.burst_per_s < 1 else 0


class LocalWindows:
    """The windows of all scopes that asked this process while it was on its own."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._windows: dict[str, Window] = {}

    def admit(self, scopes: tuple[Scope, ...], tokens: int, held: Mapping[str, int] | None, now_ms: int) -> list[int]:
        """The verdict in window.lua's form; `held` are the slots that this process occupies, by scope id, None where no
        slot is asked for.
        """
        reason, wait = 0, 0
        shares = [(self._window(scope.id, now_ms), share_of(scope.limits, self._workers)) for scope in scopes]
        for scope, (window, share) in zip(scopes, shares, strict=True):
            in_use = None if held is None else held.get(scope.id, 0)
            why, ms = window.refusal(share, tokens, in_use, now_ms)
            if closed := closed_by(scope.limits, tokens, wants_slot=held is not None):
                why, ms = closed, NEVER
            if ms > wait:
                reason, wait = why, ms
        if reason == 0:
            for window, _ in shares:
                window.take(tokens)
        by_requests, requests = min(shares, key=_requests_left)
        by_tokens, tokens_share = min(shares, key=_tokens_left)
        return [
            reason,
            NEVER_MS if wait == NEVER else wait,
            requests.requests_per_minute,
            _requests_left((by_requests, requests)),
            by_requests.full_again_ms(by_requests.requests, now_ms),
            tokens_share.tokens_per_minute,
            _tokens_left((by_tokens, tokens_share)),
            by_tokens.full_again_ms(by_tokens.tokens, now_ms),
        ]

    def correct(self, scopes: tuple[Scope, ...], second: int, change: int) -> None:
        """Change what a request admitted here in `second` counts as tokens."""
        for scope in scopes:
            window = self._windows.get(scope.id)
            if window is not None:
                window.correct(second, change)

    def forget_idle(self, now_ms: int) -> None:
        """Drop the windows that no longer hold anything, so that outages do not add up in memory."""
        oldest = now_ms // 1000 - WINDOW_S
        self._windows = {id: window for id, window in self._windows.items() if window.second > oldest}

    def _window(self, scope_id: str, now_ms: int) -> Window:
        window = self._windows.get(scope_id)
        if window is None:
            window = self._windows[scope_id] = Window()
        window.advance(now_ms)
        return window
