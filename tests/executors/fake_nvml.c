/* Stands in for the library of NVIDIA's driver: two GPUs whose readings lie in the file that DURE_TEST_GPUS names.
 *
 * Each line of the file is a GPU: milliwatts, percent, millijoules. Without the file the driver does not work. A GPU whose
 * millijoules are -1 does not count them. Of the first GPU's memory 30 GiB are in use; of the second's it cannot be told
 * what jobs use of it. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };
enum { GPUS = 2 };

typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } MemoryInUse;
typedef struct { unsigned int gpu, memory; } Utilisation;
typedef struct { unsigned int milliwatts, percent; long long millijoules; } Reading;

static int handles[GPUS];

static int read_gpu(void *handle, Reading *reading) {
    const char *path = getenv("DURE_TEST_GPUS");
    FILE *file = path ? fopen(path, "r") : NULL;
    int wanted = (int)((int *)handle - handles), found = 0;
    if (!file) return GPU_IS_LOST;
    for (int line = 0; line <= wanted; line++)
        found = fscanf(file, "%u %u %lld", &reading->milliwatts, &reading->percent, &reading->millijoules) == 3;
    fclose(file);
    return found ? SUCCESS : GPU_IS_LOST;
}

int nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    return getenv("DURE_TEST_GPUS") ? SUCCESS : DRIVER_NOT_LOADED;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(int code) { return code == GPU_IS_LOST ? "GPU is lost" : "Driver Not Loaded"; }

int nvmlDeviceGetCount_v2(unsigned int *count) { *count = GPUS; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **handle) {
    if (index >= GPUS) return INVALID_ARGUMENT;
    *handle = &handles[index];
    return SUCCESS;
}

int nvmlDeviceGetUUID(void *handle, char *text, unsigned int length) {
    snprintf(text, length, "GPU-%d", (int)((int *)handle - handles));
    return SUCCESS;
}

int nvmlDeviceGetName(void *handle, char *text, unsigned int length) {
    (void)handle;
    snprintf(text, length, "NVIDIA H100 80GB HBM3");
    return SUCCESS;
}

int nvmlDeviceGetMinorNumber(void *handle, unsigned int *minor) {
    *minor = 4 + (unsigned int)((int *)handle - handles);
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *handle, Memory *memory) {
    (void)handle;
    memset(memory, 0, sizeof *memory);
    memory->total = 80ULL << 30;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(void *handle, MemoryInUse *memory) {
    if (handle != &handles[0]) return NOT_SUPPORTED;
    memory->used = 30ULL << 30;
    return SUCCESS;
}

int nvmlDeviceGetPowerUsage(void *handle, unsigned int *milliwatts) {
    Reading reading;
    int code = read_gpu(handle, &reading);
    *milliwatts = reading.milliwatts;
    return code;
}

int nvmlDeviceGetUtilizationRates(void *handle, Utilisation *rates) {
    Reading reading;
    int code = read_gpu(handle, &reading);
    rates->gpu = reading.percent;
    rates->memory = 0;
    return code;
}

int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *millijoules) {
    Reading reading;
    int code = read_gpu(handle, &reading);
    if (code == SUCCESS && reading.millijoules < 0) return NOT_SUPPORTED;
    *millijoules = (unsigned long long)reading.millijoules;
    return code;
}
