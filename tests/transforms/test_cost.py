"""Costs are arithmetic on totals: checked against sums done by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest
import yaml

from catalog import prices as price_lists
from mdfp.errors import UsageError
from schemas.prices import Prices
from transforms.cost import Totals, estimate, requests, wall_seconds

LIST = Prices.model_validate(
    {
        "date": "2026-01-15",
        "currency": "USD",
        "note": "numbers that are easy to multiply by hand",
        "compute": [
            {
                "id": "engine", "title": "An engine", "region": "here", "page": "https://example.org", "vcpu_hour": 0.1,
                "memory_gb_hour": 0.01, "memory_gb_per_vcpu": 4, "disk_gb_hour": 0.001, "disk_gb_per_vcpu": 10,
                "network_mb_s_per_vcpu": 100, "utilisation": 0.5,
                "quotas": [{"name": "CPUs", "of": "vcpus"}, {"name": "workers", "of": "workers", "limit": 50}],
            }
        ],
        "stores": [
            {
                "id": "store", "title": "A store", "region": "here", "page": "https://example.org",
                "storage_gb_month": 0.02, "get_per_1000": 0.4, "put_per_1000": 5, "egress_gb": 0.1,
                "quotas": [{"name": "GETs", "of": "requests_per_second", "limit": 10}],
            }
        ],
    }
)  # fmt: skip

RUN = Totals(
    cases=1000, objects=40_000, shards=200, bytes_in=10**12, bytes_out=10**11, cpu_seconds=36_000.0,
    longest_shard_seconds=300.0, peak_bytes=2 * 10**9,
)  # fmt: skip


def test_compute_is_hours_times_prices():
    (engine,) = estimate(RUN, LIST, 100).compute
    assert engine.vcpu_hours == pytest.approx(10 / 0.5)
    assert engine.memory_gb_hours == pytest.approx(80)
    assert engine.amount == pytest.approx(20 * (0.1 + 4 * 0.01 + 10 * 0.001))
    assert engine.limited_by == "cpu"


def test_a_case_larger_than_the_machine_rents_more_memory():
    large = dataclasses.replace(RUN, peak_bytes=9 * 10**9)
    (engine,) = estimate(large, LIST, 100).compute
    assert engine.memory_gb_per_vcpu == math.ceil(9 * 1.25)
    assert engine.memory_gb_hours == pytest.approx(20 * 12)


def test_the_network_limits_what_reads_much_and_computes_little():
    light = dataclasses.replace(RUN, cpu_seconds=1000.0)
    (engine,) = estimate(light, LIST, 100).compute
    assert engine.limited_by == "network"
    assert engine.vcpu_hours == pytest.approx(10_000 / 3600 / 0.5)


def test_more_workers_than_shards_are_not_rented():
    (engine,) = estimate(RUN, LIST, 1000).compute
    assert (engine.workers, engine.limited_by) == (200, "shards")


@pytest.mark.parametrize("workers", [1, 7, 100, 200, 1000])
def test_wall_time_is_never_shorter_than_the_work_or_the_largest_shard(workers):
    wall, _ = wall_seconds(RUN, workers, 1e8)
    assert wall >= max(RUN.cpu_seconds / min(workers, RUN.shards), RUN.longest_shard_seconds)
    assert wall <= RUN.cpu_seconds / min(workers, RUN.shards) + RUN.longest_shard_seconds


def test_requests_count_objects_ranges_parts_and_markers():
    reads, writes = requests(RUN)
    assert reads == 2 * 40_000 + 10**12 // (64 << 20) + 4 * 200
    assert writes == 5 * 200 + 10**11 // (50 << 20)


def test_stores_charge_for_requests_months_and_egress():
    (store,) = estimate(RUN, LIST, 100).stores
    reads, writes = requests(RUN)
    assert store.requests_amount == pytest.approx(reads * 0.0004 + writes * 0.005)
    assert store.storage_month == pytest.approx(100 * 0.02)
    assert store.egress_in == pytest.approx(1000 * 0.1)
    assert store.egress_epoch == pytest.approx(100 * 0.1)


def test_quotas_say_what_is_needed_and_what_is_too_little():
    found = estimate(RUN, LIST, 100)
    cpus, workers = found.compute[0].quotas
    assert (cpus.needed, cpus.limit, cpus.exceeded) == (100, None, False)
    assert (workers.needed, workers.exceeded) == (100, True)
    assert found.stores[0].quotas[0].exceeded


def test_nothing_to_do_costs_nothing():
    found = estimate(Totals(0, 0, 0, 0, 0, 0.0, 0.0, 0), LIST, 4)
    assert found.compute[0].amount == 0
    assert found.stores[0].requests_amount == 0


def test_no_workers_are_refused():
    with pytest.raises(ValueError, match="at least 1 worker"):
        estimate(RUN, LIST, 0)


def test_the_examples_are_valid_dated_and_say_what_they_are():
    examples = price_lists.load()
    assert "check them" in examples.note
    assert {c.id for c in examples.compute} >= {"dataflow", "spark-gce-spot"}
    assert {s.id for s in examples.stores} >= {"gcs", "s3"}
    assert all(e.page.startswith("https://") for e in (*examples.compute, *examples.stores))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"currency": "dollars"}, "currency"),
        ({"compute": []}, "compute"),
        ({"storage": 1}, "unknown key 'storage'.*stores"),
    ],
)
def test_a_wrong_price_list_is_refused_by_name_and_line(change, message, tmp_path):
    content = yaml.safe_load(price_lists.EXAMPLES.read_text()) | change
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError, match=rf"mine\.yaml:\d+.*{message}"):
        price_lists.load(file)


def test_an_id_given_twice_is_refused(tmp_path):
    content = yaml.safe_load(price_lists.EXAMPLES.read_text())
    content["stores"].append(content["stores"][0])
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError, match="'gcs' is given twice"):
        price_lists.load(file)


def test_a_missing_price_list_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"none\.yaml: cannot be read"):
        price_lists.load(tmp_path / "none.yaml")
