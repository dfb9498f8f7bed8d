"""From start to stop: the order in which the processes come and go, and why.

Valkey first and last, because everyone talks to it. The local model loads while the database is prepared. Web
processes start when the database is ready; the jobs' processes when the web answers, since before that they
would only compete for the processor. At the end web processes finish their calls while the local model still
answers.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial

from komilion import env, settings
from komilion.common.clock import monotonic_s
from komilion.common.redis import trouble_of
from komilion.supervisor import valkey
from komilion.supervisor.banner import DEMO_KEY_FILE, banner, url_of
from komilion.supervisor.children import Child, Spec, how_it_ended
from komilion.supervisor.guard import Refusal, answers_200, becomes_free, only_one, refuse_test_money
from komilion.supervisor.prepared import Prepared
from komilion.supervisor.signals import Signals, StopRequested

LOOPBACK = "127.0.0.1"
POLL_S = 0.05
START_TIMEOUT_S = 60.0
VALKEY_TRIES = 3
LOCAL_MODELS_COMMAND = (sys.executable, "manage.py", "local_models")
PREPARE_COMMAND = (sys.executable, "-m", "komilion.supervisor.prepare")
WEB_COMMAND = (sys.executable, "-m", "komilion.uvicorn_worker")
CELERY_COMMAND = (sys.executable, "-m", "celery", "-A", "komilion")
# The solo pool takes one job after the other in the process itself: no pool process that could outlive a
# kill, one database connection. Jobs here are short. Looking for other workers (gossip, mingle) costs a
# second at start.
# One after the other also means that a mail server or Stripe that hangs would keep holds from being reaped: what waits
# for others has a queue, and a process, of its own. `komilion.celery` says which jobs those are.
# A meeting takes minutes, nearly all of them waiting: those go on side by side, on threads. Webhooks have a queue and
# threads that no meeting gets, in the same process, since another one would cost 110 MB.
# What the advisor adds up at night may take as long as it will: its process yields the processor to every other.
QUEUES = {
    "worker": "celery",
    "worker-outside": "outside",
    "worker-voice": "voice,webhooks",
    "worker-advisor": "advisor",
}
WEBHOOK_THREADS = 4
ONE_AFTER_THE_OTHER = ("--pool", "solo")
SIDE_BY_SIDE = ("--pool", "threads", "--concurrency", str(settings.VOICE_JOBS_AT_ONCE + WEBHOOK_THREADS))
POOLS = {"worker-voice": SIDE_BY_SIDE}
NICE = {"worker-advisor": 19}
WORKER_OPTIONS = ("--without-gossip", "--without-mingle", "--without-heartbeat")


def report(message: str) -> None:
    """A line for the operator."""
    sys.stderr.write(f"komilion: {message}\n")
    sys.stderr.flush()


class Supervisor:
    """All processes of one installation."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._instance = settings.INSTANCE
        self._ready_file = settings.DATA_DIR / "run" / "ready"
        self._children: list[Child] = []
        self._prepared = Prepared(demo_key_works=False)

    def start(self) -> None:
        """Start everything and print the banner. Raises `Refusal` or `StopRequested`."""
        self._ready_file.unlink(missing_ok=True)  # readiness says 503 until this file is there
        if settings.EMBEDDED_VALKEY:
            self._start_valkey()
        elif trouble := trouble_of(settings.REDIS_URL):
            report(f"{trouble}. Until it answers, limits are kept by each process alone and jobs wait.")
        if not becomes_free(LOOPBACK, self._instance.local_models_port, self._signals):
            self._instance = env.move_ports(settings.DATA_DIR, local_models_port=env.free_port())
        self._start(Spec("local-models", LOCAL_MODELS_COMMAND, stop_within_s=8))
        self._prepare()
        self._start_web()
        for name, queues in QUEUES.items():
            place = ("--hostname", f"{settings.PORT}-{name}@%h", "--queues", queues)
            pool = POOLS.get(name, ONE_AFTER_THE_OTHER)
            command = (*CELERY_COMMAND, "worker", *place, *pool, *WORKER_OPTIONS)
            self._start(Spec(name, command, stop_within_s=10, nice=NICE.get(name, 0)))
        self._start(Spec("beat", (*CELERY_COMMAND, "beat"), stop_within_s=5))
        self._print_banner()
        self._ready_file.touch()

    def watch(self) -> None:
        """Look after the children until somebody asks us to stop."""
        while not self._signals.stop_requested:
            for child in self._children:
                child.tend(report)
            due = [seconds for child in self._children if (seconds := child.due_in_s()) is not None]
            self._signals.wait(min(due, default=None))

    def stop(self) -> None:
        """Stop every child, those first that no other needs; a second Ctrl-C kills what is left."""
        self._ready_file.unlink(missing_ok=True)
        needed = ("local-models", "valkey")
        self._stop_group([child for child in self._children if child.spec.name not in needed])
        for name in needed:
            self._stop_group([child for child in self._children if child.spec.name == name])

    def _start(self, spec: Spec) -> Child:
        child = Child(spec, settings.DATA_DIR / "log", settings.BASE_DIR)
        self._children.append(child)
        child.start()
        return child

    def _start_valkey(self) -> None:
        program = valkey.find_program()
        if program is None:
            raise Refusal("There is no valkey-server or redis-server; install one or set REDIS_URL.")
        for _ in range(VALKEY_TRIES):
            if not becomes_free(LOOPBACK, self._instance.valkey_port, self._signals):
                self._instance = env.move_ports(settings.DATA_DIR, valkey_port=env.free_port())
            path = valkey.write_configuration(settings.DATA_DIR / "valkey", self._instance)
            child = self._start(Spec("valkey", (str(program), str(path)), stop_within_s=10))
            self._wait(partial(self._is_settled, child), "valkey")
            if not child.is_gone():
                return
            self._children.remove(child)  # most likely somebody was faster with the port
        raise Refusal(f"Valkey does not start.\n{child.last_words()}")

    def _is_settled(self, server: Child) -> bool:
        return server.is_gone() or valkey.is_ready(self._instance)

    def _prepare(self) -> None:
        """Migrations may take their time after an upgrade, so there is no time limit."""
        child = self._start(Spec("prepare", PREPARE_COMMAND, stop_within_s=5))
        self._wait(child.is_gone, "prepare", timeout_s=None)
        self._children.remove(child)
        if child.exit_code() != 0:
            raise Refusal(f"The database could not be prepared. Log: {child.log}\n{child.last_words()}")
        self._prepared = Prepared.load(self._ready_file.parent)
        if self._prepared.refusal:
            raise Refusal(self._prepared.refusal)
        os.environ["TEST_PAYMENTS"] = "1" if self._prepared.test_payments else "0"  # for the children to come
        for note in self._prepared.notes:
            report(note)

    def _start_web(self) -> None:
        ready = {"KOMILION_READY_FILE": str(self._ready_file)}
        grace_s = settings.SHUTDOWN_GRACE_S + settings.SETTLEMENT_WAIT_S + 5
        for number in range(1, settings.WORKERS + 1):
            self._start(Spec(f"web-{number}", WEB_COMMAND, grace_s, ready))
        port = self._instance.local_models_port
        self._wait(lambda: answers_200(LOOPBACK, port, "/health"), "local-models")
        self._wait(lambda: answers_200(settings.HOST, settings.PORT, "/health/liveliness"), "web")

    def _wait(self, happened: Callable[[], bool], what: str, timeout_s: float | None = START_TIMEOUT_S) -> None:
        """Ask until it happened. A child that ends meanwhile will not get better: that is a refusal."""
        started_s = monotonic_s()
        while not happened():
            if self._signals.stop_requested:
                raise StopRequested
            for child in self._children:
                code = child.exit_code()
                if code is not None and child.spec.name != what:
                    how = how_it_ended(code)
                    raise Refusal(f"{child.spec.name} {how}. Log: {child.log}\n{child.last_words()}")
            if timeout_s is not None and monotonic_s() - started_s > timeout_s:
                raise Refusal(f"{what} is not ready after {timeout_s:g} s. Logs: {settings.DATA_DIR / 'log'}")
            self._signals.wait(POLL_S)

    def _print_banner(self) -> None:
        path = settings.DATA_DIR / DEMO_KEY_FILE
        key = path.read_text().strip() if self._prepared.demo_key_works else None
        sys.stdout.write(banner(url_of(settings.HOST, settings.PORT), key, str(path)))
        sys.stdout.flush()

    def _stop_group(self, group: list[Child]) -> None:
        for child in group:
            child.send(signal.SIGTERM)
        started_s = monotonic_s()
        while running := [child for child in group if not child.is_gone()]:
            waited_s = monotonic_s() - started_s
            for child in running:
                if self._signals.force_requested or waited_s >= child.spec.stop_within_s:
                    child.send(signal.SIGKILL)
            self._signals.wait(POLL_S)


def main() -> int:
    """Run until a signal. The exit code: 1 when we refused to start."""
    signals = Signals()
    for name in ("run", "log"):
        (settings.DATA_DIR / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        if settings.TEST_PAYMENTS:
            refuse_test_money(settings)
        with only_one(settings.DATA_DIR / "run"):
            shutil.rmtree(settings.DATA_DIR / "run" / "metrics", ignore_errors=True)  # of the processes before
            if not becomes_free(settings.HOST, settings.PORT, signals):
                raise Refusal(f"Port {settings.PORT} is used by another program; set PORT to a free one.")
            supervisor = Supervisor(signals)
            try:
                supervisor.start()
                supervisor.watch()
            except StopRequested:
                pass  # asked for, so no fault: the children are stopped below
            finally:
                supervisor.stop()
    except (Refusal, OSError) as error:
        report(str(error))
        return 1
    return 0
