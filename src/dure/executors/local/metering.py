"""What the GPUs of an attempt used while it ran: energy, and how busy they were. Nothing where no GPU is real.

What all GPUs of the machine say of themselves is kept as well, whether or not anything runs there.

Energy comes from the GPUs' own counters, so it is whole even over a restart of the server; where a GPU has none, its
power is added up over time. How busy GPUs were is only known for as long as somebody looked. What is known so far lies
in the attempt's folder.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from dure.executors.contract import GpuReading, Launch
from dure.executors.local import records
from dure.executors.local.gpus import Gpu, GpuDriver, Reading
from dure.model.jobs import GpuUse
from dure.model.units import WHOLE_GPU_MILLI

_LOOK_EVERY_S = 5.0


class _Meter:
    """What is known of one attempt. Goes on from what its folder says."""

    def __init__(self, folder: str, gpus: list[Gpu], milli: int) -> None:
        self._folder = folder
        self._gpus = gpus
        self._part = milli / WHOLE_GPU_MILLI
        """Of a shared GPU an attempt counts the part that it was given."""
        known = records.read(folder, records.GPU_USE) or {}
        self._energy_j = _number(known, "energy_j")
        self._busy_s = _number(known, "busy_s")
        self._measured_s = _number(known, "measured_s")
        self._counters = {gpu.uuid: _number(known, gpu.uuid, otherwise=-1.0) for gpu in gpus}
        self._looked_at: float | None = None

    def look(self, driver: GpuDriver, now: float) -> None:
        """Add what was used since the last look, `now` being monotonic seconds."""
        passed_s = 0.0 if self._looked_at is None else now - self._looked_at
        self._looked_at = now
        self._measured_s += passed_s
        for gpu in self._gpus:
            reading = driver.read(gpu)
            if reading is None:
                continue
            self._busy_s += passed_s * reading.utilisation_percent / 100 / len(self._gpus)
            before = self._counters[gpu.uuid]
            if reading.energy_j is None:
                self._energy_j += self._part * reading.power_w * passed_s
            elif 0 <= before <= reading.energy_j:
                self._energy_j += self._part * (reading.energy_j - before)
            self._counters[gpu.uuid] = -1.0 if reading.energy_j is None else reading.energy_j
        self._keep()

    def _keep(self) -> None:
        known = {"energy_j": self._energy_j, "busy_s": self._busy_s, "measured_s": self._measured_s}
        records.replace(self._folder, records.GPU_USE, {**known, **self._counters}, durable=False)


class Metering:
    """Meters all running attempts of this machine, on a thread of its own; without real GPUs it does nothing."""

    def __init__(self, driver: GpuDriver, clock: Callable[[], float] = time.monotonic) -> None:
        self._driver = driver
        self._clock = clock
        self._mutex = threading.Lock()
        self._meters: dict[str, _Meter] = {}
        self._closed = threading.Event()
        self.readings: tuple[GpuReading, ...] = ()
        """What each GPU said a few seconds ago; without those that do not answer."""
        self._thread = threading.Thread(target=self._run, name="gpu-metering", daemon=True)
        if driver.gpus:
            self._read_all()
            self._thread.start()

    def begin(self, attempt_id: str, launch: Launch | None, folder: str) -> None:
        """Meter an attempt from now on. Without its launch, an earlier server began, and its folder says with what."""
        if not self._driver.gpus:
            return
        if launch is not None:
            record: dict[str, object] = {"gpus": _indices(launch), "milli": _milli(launch)}
            records.replace(folder, records.METERED, record, durable=False)
        metered = records.read(folder, records.METERED) or {}
        indices = metered.get("gpus")
        gpus = [gpu for gpu in self._driver.gpus if isinstance(indices, list) and gpu.index in indices]
        if not gpus:
            return
        with self._mutex:
            meter = self._meters.setdefault(attempt_id, _Meter(folder, gpus, int(_number(metered, "milli"))))
            self._look(meter)

    def end(self, attempt_id: str) -> None:
        """Look a last time."""
        with self._mutex:
            meter = self._meters.pop(attempt_id, None)
            if meter is not None:
                self._look(meter)

    def close(self) -> None:
        """Stop metering."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(_LOOK_EVERY_S):
            self._read_all()
            with self._mutex:
                for meter in self._meters.values():
                    self._look(meter)

    def _read_all(self) -> None:
        read = ((gpu, self._driver.read(gpu)) for gpu in self._driver.gpus)
        self.readings = tuple(_told(gpu, reading) for gpu, reading in read if reading is not None)

    def _look(self, meter: _Meter) -> None:
        try:
            meter.look(self._driver, self._clock())
        except OSError:
            return  # the disk is full, or the attempt was forgotten


def gpu_use(folder: str) -> GpuUse | None:
    """What is known of an attempt; None for one without real GPUs."""
    known = records.read(folder, records.GPU_USE)
    if not known:
        return None
    measured_s = _number(known, "measured_s")
    return GpuUse(
        energy_j=round(_number(known, "energy_j")),
        measured_ms=round(1000 * measured_s),
        busy_percent=round(100 * _number(known, "busy_s") / measured_s) if measured_s else 0,
    )


def _told(gpu: Gpu, reading: Reading) -> GpuReading:
    return GpuReading(
        hostname=os.uname().nodename,
        index=gpu.index,
        minor=gpu.minor,
        uuid=gpu.uuid,
        model_name=gpu.name,
        utilisation_percent=reading.utilisation_percent,
        power_w=reading.power_w,
        energy_mj=None if reading.energy_j is None else round(1000 * reading.energy_j),
        memory_used_mib=reading.memory_used_mib,
    )


def _indices(launch: Launch) -> list[int]:
    return sorted({index for placement in launch.placements for index in placement.gpus})


def _milli(launch: Launch) -> int:
    return min((placement.milli for placement in launch.placements if placement.gpus), default=WHOLE_GPU_MILLI)


def _number(record: dict[str, object], name: str, otherwise: float = 0.0) -> float:
    value = record.get(name)
    return float(value) if isinstance(value, int | float) else otherwise
