"""EngineLoop: the thread that owns an EngineCore and runs its steps."""

import queue
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

from lite.engine.stats import EngineObserver
from lite.log import get_logger
from lite.messages import EngineStats, GenerateRequest, TokenOutput

Owner = Hashable  # what names a front end
Produced = Sequence[tuple[Owner, TokenOutput]]

log = get_logger(__name__)


class Core(Protocol):
    """What the loop needs of an EngineCore."""

    def add(
        self, message: GenerateRequest, owner: Owner, arrival_s: float | None = None
    ) -> None: ...
    def abort(self, request_id: str, indices: list[int], owner: Owner) -> object: ...
    def abort_owner(self, owner: Owner) -> object: ...
    def has_work(self) -> bool: ...
    def next_deadline(self) -> float | None: ...
    def step(self) -> Produced: ...
    def stats(self) -> EngineStats: ...
    def set_observer(self, observer: EngineObserver) -> None: ...
    def close(self) -> None: ...


Command = Callable[[Core], object]


class EngineLoop:
    """Loads a core, then steps it while it has work and sleeps while it has none.

    `deliver` gets what each step produced and `on_change` is told when the state changed; both
    are called on the loop's thread. The public attributes may be read from any thread.
    """

    def __init__(
        self,
        load: Callable[[], Core],
        *,
        on_load: Callable[[EngineStats], EngineObserver],
        deliver: Callable[[Produced], None],
        on_change: Callable[[], None],
    ) -> None:
        self.state = "loading"  # then ready, then stopped or failed
        self.failure: BaseException | None = None
        self.stats = EngineStats(state="loading")  # after the last step
        self._busy_since_s: float | None = None
        self._load = load
        self._on_load = on_load
        self._deliver = deliver
        self._on_change = on_change
        self._commands: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="engine-loop", daemon=True)

    def start(self) -> None:
        """Begin to load."""
        self._thread.start()

    def post(self, command: Command) -> None:
        """Have `command` called with the core, between two steps."""
        self._commands.put(command)

    def stop(self, timeout_s: float) -> bool:
        """End after the step that runs; return whether it ended in time."""
        self._commands.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def busy(self) -> bool:
        return self._busy_since_s is not None

    @property
    def last_step_age_s(self) -> float:
        """Seconds since a step ended, or since there was work to do; 0 while idle."""
        since_s = self._busy_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def _run(self) -> None:
        try:
            core = self._load()
            try:
                self.stats = core.stats()
                core.set_observer(self._on_load(self.stats))
                self._change("ready")
                while self._take_commands(core):
                    self._step(core)
            finally:
                core.close()
        except BaseException as error:
            self.failure = error
            self._change("failed")
        else:
            self._change("stopped")

    def _take_commands(self, core: Core) -> bool:
        """Run what was posted, waiting for it while there is no work; False: stop."""
        timeout_s = None
        idle = not core.has_work()
        if idle:
            self._busy_since_s = None
            deadline_s = core.next_deadline()
            if deadline_s is not None:
                timeout_s = max(0.0, deadline_s - time.monotonic())
        if not idle and self._commands.empty():
            return True
        try:
            command = self._commands.get(idle, timeout_s)
            while command is not None:
                command(core)
                command = self._commands.get_nowait()
        except queue.Empty:
            return True
        return False

    def _step(self, core: Core) -> None:
        if self._busy_since_s is None:
            self._busy_since_s = time.monotonic()
        produced = core.step()
        self.stats = core.stats()
        self._busy_since_s = time.monotonic()
        if produced:
            self._deliver(produced)

    def _change(self, state: str) -> None:
        self.state = state
        self._on_change()
