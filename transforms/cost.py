"""What a plan will cost on each engine and store of a price list: arithmetic on totals, before anything is spent."""

from __future__ import annotations

import math
from dataclasses import dataclass

from schemas.prices import Compute, Prices, Quota, Store

REQUESTS_PER_OBJECT = 2
"""Of each source object: one HEAD to see that it is the one that was inventoried, one GET."""

RANGE_BYTES = 64 << 20
"""An object is read in ranges of this size at most, a GET each."""

PART_BYTES = 50 << 20
"""A shard is uploaded in parts of about this size, a PUT each."""

WRITES_PER_SHARD = 5
"""Opening and closing the upload, the commit marker, its sample table, and the telemetry record."""

READS_PER_SHARD = 4
"""Looking for the marker, for a cancellation, and reading the rows of the plan."""

MEMORY_HEADROOM = 1.25
"""A worker gets this much more than the largest case is estimated to need."""

GB = 1e9


@dataclass(frozen=True)
class Totals:
    """What a plan adds up to.

    Attributes:
        cases: cases to make.
        objects: source objects to read.
        shards: shards to write.
        bytes_in: bytes to read.
        bytes_out: bytes to write.
        cpu_seconds: estimated CPU time.
        longest_shard_seconds: estimated CPU time of the largest shard: the tail of a run.
        peak_bytes: memory of a worker on the largest case.
    """

    cases: int
    objects: int
    shards: int
    bytes_in: int
    bytes_out: int
    cpu_seconds: float
    longest_shard_seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Check:
    """A quota and what this run asks of it."""

    name: str
    needed: float
    limit: float | None
    """None: it differs by project; look it up."""

    @property
    def exceeded(self) -> bool:
        """Whether its usual value is not enough."""
        return self.limit is not None and self.needed > self.limit


@dataclass(frozen=True)
class ComputeCost:
    """The run on one engine.

    Attributes:
        id, title, region: of the price list.
        workers: vCPUs working at once, one process each; never more than there are shards.
        vcpu_hours, memory_gb_hours: rented, start-up and tail included.
        memory_gb_per_vcpu: what a worker needs, at least what the machine type has.
        wall_seconds: from the start of the first worker to the end of the last shard.
        limited_by: cpu, network, or shards (fewer of them than workers).
        amount: in the list's currency.
        quotas: limits to check.
    """

    id: str
    title: str
    region: str
    workers: int
    vcpu_hours: float
    memory_gb_hours: float
    memory_gb_per_vcpu: float
    wall_seconds: float
    limited_by: str
    amount: float
    quotas: tuple[Check, ...]


@dataclass(frozen=True)
class StoreCost:
    """The run's traffic on one store, if the sources and the corpus lie there.

    Attributes:
        id, title, region: of the price list.
        reads, writes: requests of the build.
        requests_amount: for both.
        storage_month: for keeping what is written, for a month.
        egress_in: for the bytes read, if the workers are not at the same place.
        egress_epoch: for the bytes written, each time a training job elsewhere streams them once.
        quotas: limits to check.
    """

    id: str
    title: str
    region: str
    reads: int
    writes: int
    requests_amount: float
    storage_month: float
    egress_in: float
    egress_epoch: float
    quotas: tuple[Check, ...]


@dataclass(frozen=True)
class CostEstimate:
    """All of it. Good to about a factor of two, as the seconds it rests on are."""

    totals: Totals
    date: str
    currency: str
    note: str
    compute: tuple[ComputeCost, ...]
    stores: tuple[StoreCost, ...]


def estimate(totals: Totals, prices: Prices, workers: int) -> CostEstimate:
    """What a plan costs by a price list.

    Args:
        totals: of the plan.
        prices: the list.
        workers: vCPUs to rent at once.

    Raises:
        ValueError: fewer than one worker.
    """
    if workers < 1:
        raise ValueError(f"at least 1 worker is needed, found {workers}")
    compute = tuple(_compute(totals, c, workers) for c in prices.compute)
    fastest = min((c.wall_seconds for c in compute), default=0.0)
    return CostEstimate(
        totals=totals,
        date=prices.date.isoformat(),
        currency=prices.currency,
        note=prices.note,
        compute=compute,
        stores=tuple(_store(totals, s, fastest) for s in prices.stores),
    )


def requests(totals: Totals) -> tuple[int, int]:
    """(reads, writes) that a build makes on its stores: GET and HEAD of ranges and markers, PUT of parts and markers."""
    reads = totals.objects * REQUESTS_PER_OBJECT + totals.bytes_in // RANGE_BYTES + totals.shards * READS_PER_SHARD
    return reads, totals.shards * WRITES_PER_SHARD + totals.bytes_out // PART_BYTES


def wall_seconds(totals: Totals, workers: int, network_bytes_s: float) -> tuple[float, str]:
    """How long so many workers take, and what limits them: cpu, network, or shards.

    The next case is fetched while the present one is worked on, so the slower of the two decides; the last worker may
    have just begun the largest shard when the others end.

    Args:
        totals: of the plan.
        workers: processes at once.
        network_bytes_s: bytes a second that one of them reads.
    """
    busy = max(1, min(workers, totals.shards))
    cpu, network = totals.cpu_seconds, totals.bytes_in / network_bytes_s
    limit = "shards" if busy < workers else "cpu" if cpu >= network else "network"
    tail = totals.longest_shard_seconds if totals.shards > busy else 0.0
    return max(max(cpu, network) / busy + tail / 2, totals.longest_shard_seconds), limit


def _compute(totals: Totals, price: Compute, workers: int) -> ComputeCost:
    busy = max(1, min(workers, totals.shards))
    wall, limit = wall_seconds(totals, workers, price.network_mb_s_per_vcpu * 1e6)
    work_s = max(totals.cpu_seconds, totals.bytes_in / (price.network_mb_s_per_vcpu * 1e6))
    hours = work_s / 3600 / price.utilisation
    needed = math.ceil(totals.peak_bytes * MEMORY_HEADROOM / GB)
    memory = max(price.memory_gb_per_vcpu, float(needed))
    amount = hours * (price.vcpu_hour + memory * price.memory_gb_hour + price.disk_gb_per_vcpu * price.disk_gb_hour)
    needs = {"vcpus": busy, "workers": busy, "addresses": busy, "disk_gb": busy * price.disk_gb_per_vcpu}
    return ComputeCost(
        id=price.id,
        title=price.title,
        region=price.region,
        workers=busy,
        vcpu_hours=hours,
        memory_gb_hours=hours * memory,
        memory_gb_per_vcpu=memory,
        wall_seconds=wall,
        limited_by=limit,
        amount=amount,
        quotas=_checks(price.quotas, needs),
    )


def _store(totals: Totals, price: Store, wall_s: float) -> StoreCost:
    reads, writes = requests(totals)
    return StoreCost(
        id=price.id,
        title=price.title,
        region=price.region,
        reads=reads,
        writes=writes,
        requests_amount=(reads * price.get_per_1000 + writes * price.put_per_1000) / 1000,
        storage_month=totals.bytes_out / GB * price.storage_gb_month,
        egress_in=totals.bytes_in / GB * price.egress_gb,
        egress_epoch=totals.bytes_out / GB * price.egress_gb,
        quotas=_checks(price.quotas, {"requests_per_second": reads / wall_s if wall_s else 0.0}),
    )


def _checks(quotas: tuple[Quota, ...], needs: dict[str, float]) -> tuple[Check, ...]:
    return tuple(Check(q.name, needs[q.of], q.limit) for q in quotas if q.of in needs)
