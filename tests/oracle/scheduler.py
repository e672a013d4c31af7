"""The scheduler in plain Python: the same decisions, found the long way."""

from dataclasses import dataclass, field

from tests.oracle.block_pool import OracleBlockPool

WAITING, RUNNING, GONE = "waiting", "running", "gone"


@dataclass(eq=False)
class OracleSequence:
    seq_id: int
    tokens: list[int]
    max_tokens: int
    min_tokens: int
    stop_token_ids: tuple[int, ...]
    salt: bytes
    read_prefix_cache: bool
    num_prompt_tokens: int = 0
    num_computed: int = 0
    most_computed: int = 0
    table: list[int] = field(default_factory=list)
    registers: bool = False
    state: str = WAITING
    admission: int = -1
    num_cached_tokens: int | None = None
    num_preemptions: int = 0

    def __post_init__(self) -> None:
        self.num_prompt_tokens = len(self.tokens)

    @property
    def num_missing(self) -> int:
        return len(self.tokens) - self.num_computed


@dataclass
class Scheduled:
    seq: OracleSequence
    start: int
    end: int
    table: list[int]

    @property
    def samples(self) -> bool:
        return self.end == len(self.seq.tokens)


class OracleScheduler:
    def __init__(
        self,
        *,
        num_blocks: int,
        block_size: int,
        max_num_seqs: int,
        max_num_batched_tokens: int,
        enable_prefix_caching: bool,
    ) -> None:
        self.block_size = block_size
        self.max_num_seqs = max_num_seqs
        self.max_num_batched_tokens = max_num_batched_tokens
        self.enable_prefix_caching = enable_prefix_caching
        self.pool = OracleBlockPool(num_blocks)
        # (salt, all tokens up to the end of the block) -> block
        self.cached: dict[tuple[bytes, tuple[int, ...]], int] = {}
        self.waiting: list[OracleSequence] = []
        self.running: list[OracleSequence | None] = []
        self.num_admissions = 0
        self.num_preemptions = 0
        self.num_recomputed_tokens = 0
        self.prefix_cache_queries = 0
        self.prefix_cache_hits = 0

    def live(self) -> list[OracleSequence]:
        return [seq for seq in self.running if seq is not None]

    def add(self, seq: OracleSequence) -> None:
        self.waiting.append(seq)

    def leave(self, seq: OracleSequence) -> None:
        """End a sequence, waiting or running."""
        if seq.state == WAITING:
            self.waiting.remove(seq)
        else:
            self.running[self.running.index(seq)] = None
            self.free_table(seq)
        seq.state = GONE

    def schedule(self) -> list[Scheduled]:
        while sum(self.lacks_block(seq) for seq in self.live()) > len(self.pool.free):
            self.preempt(min(self.live(), key=lambda seq: (self.work_lost(seq), -seq.admission)))
        self.arrange()
        step: list[Scheduled] = []
        budget = self.max_num_batched_tokens
        for seq in self.live():
            if self.lacks_block(seq):
                self.allocate_block(seq)
            budget -= self.give(step, seq, budget)
        while budget > 0 and self.waiting and len(self.live()) < self.max_num_seqs:
            hits = self.find_prefix(self.waiting[0])
            if not self.fits(self.waiting[0], hits):
                break
            seq = self.waiting.pop(0)
            self.start(seq, hits)
            budget -= self.give(step, seq, budget)
        return step

    def update(self, step: list[Scheduled], sampled: list[int]) -> list[tuple[int, int, int]]:
        events = []
        tokens = iter(sampled)
        for row in step:
            token = next(tokens) if row.samples else None
            seq = row.seq
            if seq.state != RUNNING:
                continue
            self.num_recomputed_tokens += len(
                set(range(row.start, row.end)) & set(range(seq.most_computed))
            )
            seq.num_computed = row.end
            seq.most_computed = max(seq.most_computed, row.end)
            self.share_full_blocks(seq)
            if token is None:
                continue
            seq.tokens.append(token)
            num_output = len(seq.tokens) - seq.num_prompt_tokens
            if num_output > seq.min_tokens and token in seq.stop_token_ids:
                events.append((seq.seq_id, 0, token))
            elif num_output == seq.max_tokens:
                events.append((seq.seq_id, 1, -1))
            else:
                continue
            self.leave(seq)
        return events

    def reset_prefix_cache(self) -> None:
        self.cached.clear()
        for seq in self.live():
            seq.registers = False

    # --- parts of schedule() ---------------------------------------------------------------

    def num_blocks_of(self, num_tokens: int) -> int:
        return -(-num_tokens // self.block_size)

    def lacks_block(self, seq: OracleSequence) -> bool:
        return self.num_blocks_of(len(seq.tokens)) > len(seq.table)

    def may_grow(self, seq: OracleSequence) -> bool:
        most = seq.num_prompt_tokens + seq.max_tokens - 1
        return self.num_blocks_of(most) > len(seq.table)

    def work_lost(self, seq: OracleSequence) -> int:
        holders = self.pool.ref_counts
        return sum(
            holders[seq.table[position // self.block_size]] == 1
            for position in range(seq.num_computed)
        )

    def preempt(self, seq: OracleSequence) -> None:
        self.running[self.running.index(seq)] = None
        self.free_table(seq)
        seq.num_computed = 0
        seq.state = WAITING
        seq.num_preemptions += 1
        self.num_preemptions += 1
        self.waiting.insert(0, seq)

    def arrange(self) -> None:
        """Decodes keep their places, the last ones fill the gaps, the others follow."""
        others = [seq for seq in self.live() if seq.num_missing > 1]
        places = [None if seq in others else seq for seq in self.running]
        while None in places:
            last = places.pop()
            if last is not None:
                places[places.index(None)] = last
        self.running = [*places, *others]

    def give(self, step: list[Scheduled], seq: OracleSequence, budget: int) -> int:
        num_scheduled = min(seq.num_missing, budget)
        if num_scheduled > 0:
            end = seq.num_computed + num_scheduled
            step.append(Scheduled(seq, seq.num_computed, end, list(seq.table)))
        return num_scheduled

    def find_prefix(self, seq: OracleSequence) -> list[int]:
        hits: list[int] = []
        if not (self.enable_prefix_caching and seq.read_prefix_cache):
            return hits
        for end in range(self.block_size, len(seq.tokens), self.block_size):
            block = self.cached.get((seq.salt, tuple(seq.tokens[:end])))
            if block is None:
                break
            hits.append(block)
        return hits

    def fits(self, seq: OracleSequence, hits: list[int]) -> bool:
        available = set(self.pool.free) - set(hits)
        reserved = sum(self.may_grow(other) for other in self.live())
        return self.num_blocks_of(len(seq.tokens)) - len(hits) + reserved <= len(available)

    def start(self, seq: OracleSequence, hits: list[int]) -> None:
        for block in hits:
            self.pool.retain(block)
        seq.table = list(hits)
        seq.num_computed = len(hits) * self.block_size
        while self.lacks_block(seq):
            self.allocate_block(seq)
        seq.registers = self.enable_prefix_caching
        seq.state = RUNNING
        seq.admission = self.num_admissions
        self.num_admissions += 1
        self.running.append(seq)
        if seq.num_cached_tokens is None:
            seq.num_cached_tokens = seq.num_computed
            if self.enable_prefix_caching and seq.read_prefix_cache:
                self.prefix_cache_queries += len(seq.tokens)
                self.prefix_cache_hits += seq.num_computed

    # --- blocks ----------------------------------------------------------------------------

    def allocate_block(self, seq: OracleSequence) -> None:
        block = self.pool.allocate()
        self.cached = {content: b for content, b in self.cached.items() if b != block}
        seq.table.append(block)

    def share_full_blocks(self, seq: OracleSequence) -> None:
        if not seq.registers:
            return
        for k in range(seq.num_computed // self.block_size):
            content = (seq.salt, tuple(seq.tokens[: (k + 1) * self.block_size]))
            known = self.cached.setdefault(content, seq.table[k])
            if known != seq.table[k]:
                self.pool.retain(known)
                self.pool.release(seq.table[k], keep=False)
                seq.table[k] = known

    def free_table(self, seq: OracleSequence) -> None:
        while seq.table:
            block = seq.table.pop()
            self.pool.release(block, keep=block in self.cached.values())
