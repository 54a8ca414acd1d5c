/* A driver's management library that tells what a test wants: two cards, of which the first does as QA_TEST_CARD says.
 * The functions and structures are those of NVML's public interface, as far as qa asks for them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_t;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } process_t;

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };
enum { CLOCK_SM = 1, CLOCK_MEMORY = 2 };
static const char *const UUIDS[] = {"GPU-1", "GPU-2"};

static int does(const char *what) {
    const char *wanted = getenv("QA_TEST_CARD");
    return wanted && strcmp(wanted, what) == 0;
}

/* Which card a handle means; a handle is the address of its name. */
static int first(void *device) { return device == (void *)UUIDS[0]; }

int nvmlInit_v2(void) { return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    if (index > 1) return INVALID_ARGUMENT;
    *device = (void *)UUIDS[index];
    return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    for (int i = 0; i < 2; i++)
        if (strcmp(uuid, UUIDS[i]) == 0) return nvmlDeviceGetHandleByIndex_v2(i, device);
    return NOT_FOUND;
}

int nvmlDeviceGetUUID(void *device, char *uuid, unsigned length) {
    snprintf(uuid, length, "%s", (const char *)device);
    return SUCCESS;
}

/* A clock that falls by a third in the midst of a run. */
int nvmlDeviceGetClockInfo(void *device, int clock, unsigned *mhz) {
    static unsigned looks;
    *mhz = clock == CLOCK_SM ? 1980 : clock == CLOCK_MEMORY ? 2619 : 0;
    if (clock == CLOCK_SM && first(device) && does("falls") && ++looks > 8) *mhz = 1320;
    return *mhz ? SUCCESS : INVALID_ARGUMENT;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *reasons) {
    *reasons = first(device) && does("throttles") ? 0x40 /* hardware, for heat */ : 0;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(void *device, memory_t *memory) {
    (void)device;
    memory->total = 80ull << 30;
    memory->used = 1ull << 30;
    return SUCCESS;
}

/* Who computes there: nobody, or whoever started qa, which is no worker of it. */
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, process_t *processes) {
    unsigned found = first(device) && does("shared");
    if (*count < found || !processes) {
        *count = found;
        return found ? INSUFFICIENT_SIZE : SUCCESS;
    }
    if (found) processes[0] = (process_t){.pid = (unsigned)getppid(), .used = 5ull << 30};
    *count = found;
    return SUCCESS;
}
