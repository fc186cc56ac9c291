"""Figures for Prometheus: what the platform holds and how its requests fare, read when somebody asks.

Names and units are as the ecosystem has them: base units, `_total` for counters, and shares, sites, GPU classes and
states as labels. What real GPUs say of themselves has the names, units and labels of NVIDIA's DCGM exporter, so that
dashboards made for it work; GPUs that are only declared have none of it. Nothing here is about a person or a job.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

if TYPE_CHECKING:
    from dure.api.operations import Operation
    from dure.api.platform import Platform
    from dure.control.ports import GpuReading

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_GPU = 1000
"""Thousandths."""


class _OfGpus(NamedTuple):
    """A family of NVIDIA's exporter: its name, the type its samples have, what it says, and where we know it from."""

    name: str
    kind: str
    help_text: str
    field: str


_OF_GPUS = (
    _OfGpus("DCGM_FI_DEV_GPU_UTIL", "gauge", "GPU utilization (in %).", "utilisation_percent"),
    _OfGpus("DCGM_FI_DEV_FB_USED", "gauge", "Framebuffer memory used (in MiB).", "memory_used_mib"),
    _OfGpus("DCGM_FI_DEV_POWER_USAGE", "gauge", "Power draw (in W).", "power_w"),
    # A counter, but this format's writer puts `_total` behind the name of every counter, and NVIDIA does not.
    _OfGpus("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "unknown", "Energy since boot (in mJ).", "energy_mj"),
)


class Metrics:
    """Times of requests as they come, and everything else as it stands."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._durations = Histogram(
            "dure_http_request_duration_seconds",
            "Time from a request to its answer, by operation.",
            ("method", "path"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._statuses: Counter[tuple[str, str, int]] = Counter()

    def note(self, operation: Operation, status: int, duration_s: float) -> None:
        """A request was answered."""
        self._durations.labels(operation.method, operation.path).observe(duration_s)
        self._statuses[operation.method, operation.path, status] += 1

    def requests(self) -> Metric:
        """How many requests had which answer."""
        family = CounterMetricFamily(
            "dure_http_requests", "Requests answered, by operation and status.", labels=("method", "path", "status")
        )
        for (method, path, status), count in sorted(self._statuses.items()):
            family.add_metric((method, path, str(status)), count)
        return family


class _Standing:
    """The platform as it stands."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def collect(self) -> Iterable[Metric]:
        """Every family, in a fixed order."""
        yield _gauge("dure_build_info", "Version of Dure.", ("version",), {(version("dure"),): 1})
        yield from self._ledger()
        yield self._jobs()
        yield from self._fleet()
        yield from self._shares()
        yield from _gpus(self._platform.engines.gpu_readings())
        yield self._platform.metrics.requests()
        yield self._decisions()
        yield self._policy_errors()

    def _ledger(self) -> Iterable[Metric]:
        health = self._platform.health()
        entries = CounterMetricFamily("dure_ledger_entries", "Entries in the ledger.")
        entries.add_metric((), health.entries)
        yield entries
        yield from self._finality()
        working = {(status,): int(health.status == status) for status in ("ok", "halted", "failing")}
        yield _gauge("dure_health", "1 for the platform's present health.", ("status",), working)

    def _finality(self) -> Iterable[Metric]:
        found = self._platform.finality()
        if found is None:
            return
        yield _gauge("dure_ledger_final_entries", "Entries that enough witnesses cosigned.", (), {(): found.size})
        missing = {(name,): 1 for name, _ in found.problems}
        yield _gauge("dure_witness_missing", "1 for a witness that did not cosign the newest.", ("witness",), missing)

    def _jobs(self) -> Metric:
        states = Counter(card.state.value for card in self._platform.world.jobs.values())
        help_text = "Jobs by state; of those that are over, the latest."
        return _gauge("dure_jobs", help_text, ("state",), {(state,): count for state, count in sorted(states.items())})

    def _fleet(self) -> Iterable[Metric]:
        nodes: Counter[tuple[str, str]] = Counter()
        gpus: dict[tuple[str, str, str], float] = defaultdict(float)
        for node in self._platform.nodes().nodes:
            nodes[node.site, node.state] += 1
            if node.gpus:
                free = node.free_gpus_milli / _GPU
                idle = "free" if node.state == "up" else "out_of_service"
                gpus[node.site, node.gpu_class, idle] += free
                gpus[node.site, node.gpu_class, "used"] += node.gpus - free
        yield _gauge("dure_nodes", "Nodes by site and state.", ("site", "state"), nodes)
        yield _gauge("dure_gpus", "GPUs by site, class and state.", ("site", "gpu_class", "state"), gpus)
        sites = self._platform.site_list().sites
        contacts = {(site.name, site.contact.engine): site.contact for site in sites if site.contact}
        lost = {name: int(contact.is_lost) for name, contact in contacts.items()}
        yield _gauge("dure_site_contact_lost", "1 while a site's engine is out of contact.", ("site", "engine"), lost)
        heard = {name: contact.heard_at_ms / 1000 for name, contact in contacts.items()}
        yield _gauge(
            "dure_site_heard_timestamp_seconds", "When a site's engine was last heard.", ("site", "engine"), heard
        )

    def _shares(self) -> Iterable[Metric]:
        lines = self._platform.shares().shares
        for name, help_text, amount in (
            ("dure_share_guarantee_gpus", "GPUs a share is guaranteed.", "guarantee_milli"),
            ("dure_share_allocated_gpus", "GPUs in use by a share and those below it.", "used_milli"),
            ("dure_share_borrowed_gpus", "GPUs in use above the guarantee.", "borrowed_milli"),
            ("dure_share_lent_gpus", "GPUs of the guarantee that others use.", "lent_milli"),
        ):
            values = {(line.name, line.gpu_class): getattr(line, amount) / _GPU for line in lines}
            yield _gauge(name, help_text, ("share", "gpu_class"), values)
        waiting = {(line.name, line.gpu_class): line.waiting_jobs for line in lines}
        yield _gauge("dure_share_pending_jobs", "Jobs that wait in a share.", ("share", "gpu_class"), waiting)

    def _decisions(self) -> Metric:
        family = CounterMetricFamily(
            "dure_access_decisions",
            "Requests allowed, or denied with which code.",
            labels=("method", "path", "decision"),
        )
        for decision, count in sorted(self._platform.admission.decisions.items()):
            family.add_metric(decision, count)
        return family

    def _policy_errors(self) -> Metric:
        help_text = "Decisions on data that failed and were denials for that; any but 0 has to be looked into."
        family = CounterMetricFamily("dure_policy_errors", help_text)
        family.add_metric((), self._platform.control.memory.policy.policy_set.alarm.count)
        return family


def _gpus(readings: Sequence[GpuReading]) -> Iterable[Metric]:
    """One family for each thing that any GPU tells; nothing stands for what none of them does."""
    for of_gpus in _OF_GPUS:
        family = Metric(of_gpus.name, of_gpus.help_text, of_gpus.kind)
        for reading in readings:
            if (value := getattr(reading, of_gpus.field)) is not None:
                family.add_sample(of_gpus.name, _labels(reading), value)
        if family.samples:
            yield family


def _labels(reading: GpuReading) -> dict[str, str]:
    return {
        "gpu": str(reading.index),
        "UUID": reading.uuid,
        "device": f"nvidia{reading.minor}",
        "modelName": reading.model_name,
        "Hostname": reading.hostname,
    }


def _gauge(name: str, help_text: str, labels: tuple[str, ...], values: object) -> Metric:
    family = GaugeMetricFamily(name, help_text, labels=labels)
    assert isinstance(values, dict)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def exposition(platform: Platform) -> bytes:
    """All figures in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Standing(platform))
    return generate_latest(platform.metrics.registry) + generate_latest(registry)
