"""The real GPUs of this machine, as NVIDIA's driver tells of them. Where there is no driver there are none, quietly."""

from __future__ import annotations

import ctypes
import logging
from typing import Any

from msgspec import Struct

_LOG = logging.getLogger(__name__)
_DRIVER = "libnvidia-ml.so.1"
_MEBIBYTE = 1 << 20


class Gpu(Struct, frozen=True, kw_only=True):
    """One GPU. `index` is what `CUDA_VISIBLE_DEVICES` calls it, `minor` the number of its device file."""

    index: int
    minor: int
    uuid: str
    name: str
    memory_mib: int


class Reading(Struct, frozen=True, kw_only=True):
    """What a GPU says of itself at one moment."""

    power_w: float
    utilisation_percent: int
    energy_j: float | None
    """All it has used since the driver was loaded; None for GPUs that do not count."""
    memory_used_mib: int | None
    """Without what the driver keeps for itself; None for drivers that cannot tell the two apart."""


class GpuDriver:
    """NVML, opened once."""

    def __init__(self) -> None:
        self._nvml = _open()
        self.gpus: tuple[Gpu, ...] = self._list()
        self._silent: set[str] = set()

    def read(self, gpu: Gpu) -> Reading | None:
        """What the GPU says now; None when it does not answer, as one that fell off the bus (which is logged once)."""
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(gpu.index)
            reading = Reading(
                power_w=nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
                utilisation_percent=nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
                energy_j=self._energy_j(handle),
                memory_used_mib=self._memory_used_mib(handle),
            )
        except nvml.NVMLError as error:
            if gpu.uuid not in self._silent:
                _LOG.warning("GPU %s does not answer: %s", gpu.uuid, error)
            self._silent.add(gpu.uuid)
            return None
        self._silent.discard(gpu.uuid)
        return reading

    def _energy_j(self, handle: Any) -> float | None:
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
        except self._nvml.NVMLError:
            return None

    def _memory_used_mib(self, handle: Any) -> int | None:
        nvml = self._nvml
        try:
            return int(nvml.nvmlDeviceGetMemoryInfo(handle, nvml.nvmlMemory_v2).used) // _MEBIBYTE
        except nvml.NVMLError:
            return None

    def _list(self) -> tuple[Gpu, ...]:
        nvml = self._nvml
        if nvml is None:
            return ()
        try:
            return tuple(_describe(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
        except nvml.NVMLError as error:
            _LOG.warning("the GPUs of this machine cannot be listed: %s", error)
            return ()


def _open() -> Any:
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        return None  # no driver: nothing more is loaded, and there is nothing to say
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        _LOG.warning("the driver of this machine's GPUs does not work, so they are not metered: %s", error)
        return None
    return pynvml


def _describe(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    return Gpu(
        index=index,
        minor=nvml.nvmlDeviceGetMinorNumber(handle),
        uuid=nvml.nvmlDeviceGetUUID(handle),
        name=nvml.nvmlDeviceGetName(handle),
        memory_mib=nvml.nvmlDeviceGetMemoryInfo(handle).total // _MEBIBYTE,
    )
