/* A stand-in for NVIDIA's libnvidia-ml.so.1: two GPUs, the first of them sliced in two.
 *
 * What it does beyond that is said by variables of the environment:
 *   STUB_FAIL   "nvmlDeviceGetName=3 ..."  functions that answer with an error
 *   STUB_COUNT  "0"                        how many GPUs there are
 *   STUB_HANG   "nvmlDeviceGetName"        a function that does not come back
 *   STUB_CRASH  "nvmlDeviceGetName"        a function that crashes
 *   STUB_RUNS   "GPU-1=7:2048 GPU-1=8:-"   processes with their MiB, by how the UUID begins
 *   STUB_LOG    "/path"                    where to write which functions were called
 * Compiled with -DWITHOUT_MIG, it is an older library, which lacks the functions about MIG;
 * with -DWITHOUT_INIT, one that lacks nvmlInitWithFlags.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OK 0
#define NOT_SUPPORTED 3
#define INVALID 2
#define NOT_FOUND 6
#define INSUFFICIENT_SIZE 7

typedef struct device {
    const char *uuid, *name, *bus;
    unsigned long long total, free, cpus, nodes;
    int links, mig;
} device;

static device gpus[] = {
    {"GPU-00000000-0000-0000-0000-000000000000", "NVIDIA H100 80GB HBM3", "00000000:17:00.0",
     81559ULL << 20, 70000ULL << 20, 0xffffULL, 1, 2, 1},
    {"GPU-11111111-1111-1111-1111-111111111111", "NVIDIA H100 80GB HBM3", "00000001:CA:00.0",
     81559ULL << 20, 0, 0xffff0000ULL, 2, 2, 0},
};
#ifndef WITHOUT_MIG
static device slices[] = {
    {"MIG-00000000-0000-0000-0000-000000000001", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "",
     9856ULL << 20, 9000ULL << 20, 0, 0, 0, 0},
    {"MIG-00000000-0000-0000-0000-000000000002", "NVIDIA H100 80GB HBM3 MIG 3g.40gb", "",
     40320ULL << 20, 40000ULL << 20, 0, 0, 0, 0},
};
#endif

typedef struct {
    char legacy[16];
    unsigned domain, bus, device, id, subsystem;
    char bus_id[32];
} pci_info;

static int enter(const char *name)
{
    const char *log = getenv("STUB_LOG"), *hang = getenv("STUB_HANG");
    const char *crash = getenv("STUB_CRASH"), *fail = getenv("STUB_FAIL");
    if (log) {
        FILE *file = fopen(log, "a");
        fprintf(file, "%s\n", name);
        fclose(file);
    }
    while (hang && !strcmp(hang, name))
        sleep(1);
    if (crash && !strcmp(crash, name))
        abort();
    for (const char *at = fail; at && *at; at = strchr(at, ' ') ? strchr(at, ' ') + 1 : NULL) {
        size_t length = strlen(name);
        if (!strncmp(at, name, length) && at[length] == '=')
            return atoi(at + length + 1);
    }
    return OK;
}

#define ENTER(name) do { int problem = enter(#name); if (problem) return problem; } while (0)

static int text(char *into, unsigned length, const char *told)
{
    snprintf(into, length, "%s", told);
    return OK;
}

static unsigned count(void)
{
    const char *told = getenv("STUB_COUNT");
    return told ? (unsigned)atoi(told) : 2;
}

#ifndef WITHOUT_INIT
int nvmlInitWithFlags(unsigned flags) { (void)flags; ENTER(nvmlInitWithFlags); return OK; }
#endif
int nvmlShutdown(void) { ENTER(nvmlShutdown); return OK; }
const char *nvmlErrorString(int code) { (void)code; return "told by the library"; }

int nvmlSystemGetDriverVersion(char *into, unsigned length)
{
    ENTER(nvmlSystemGetDriverVersion);
    return text(into, length, "580.65.06");
}

int nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    ENTER(nvmlSystemGetCudaDriverVersion_v2);
    *version = 13020;
    return OK;
}

int nvmlDeviceGetCount_v2(unsigned *into) { ENTER(nvmlDeviceGetCount_v2); *into = count(); return OK; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device **into)
{
    ENTER(nvmlDeviceGetHandleByIndex_v2);
    if (index >= count())
        return INVALID;
    *into = &gpus[index];
    return OK;
}

int nvmlDeviceGetUUID(device *of, char *into, unsigned length)
{
    ENTER(nvmlDeviceGetUUID);
    return text(into, length, of->uuid);
}

int nvmlDeviceGetName(device *of, char *into, unsigned length)
{
    ENTER(nvmlDeviceGetName);
    return text(into, length, of->name);
}

int nvmlDeviceGetPciInfo_v3(device *of, pci_info *into)
{
    ENTER(nvmlDeviceGetPciInfo_v3);
    return text(into->bus_id, sizeof into->bus_id, of->bus);
}

int nvmlDeviceGetMemoryInfo(device *of, unsigned long long *into)
{
    ENTER(nvmlDeviceGetMemoryInfo);
    into[0] = of->total;
    into[1] = of->free;
    into[2] = of->total - of->free;
    return OK;
}

typedef struct {
    unsigned pid;
    unsigned long long used;
    unsigned gpu_instance, compute_instance;
} process;

int nvmlDeviceGetComputeRunningProcesses_v3(device *of, unsigned *room, process *into)
{
    unsigned found = 0;
    ENTER(nvmlDeviceGetComputeRunningProcesses_v3);
    for (const char *at = getenv("STUB_RUNS"); at && *at;
         at = strchr(at, ' ') ? strchr(at, ' ') + 1 : NULL) {
        size_t length = strcspn(at, "=");
        if (strncmp(at, of->uuid, length))
            continue;
        if (into && found < *room) {
            const char *used = strchr(at, ':') + 1;
            memset(&into[found], 0, sizeof *into);
            into[found].pid = (unsigned)atoi(at + length + 1);
            into[found].used = *used == '-' ? ~0ULL : (unsigned long long)atoll(used) << 20;
        }
        found++;
    }
    unsigned had = *room;
    *room = found;
    return found > had || (found && !into) ? INSUFFICIENT_SIZE : OK;
}

int nvmlDeviceGetCudaComputeCapability(device *of, int *major, int *minor)
{
    (void)of;
    ENTER(nvmlDeviceGetCudaComputeCapability);
    *major = 9;
    *minor = 0;
    return OK;
}

#ifndef WITHOUT_MIG
int nvmlDeviceGetMigMode(device *of, unsigned *now, unsigned *pending)
{
    ENTER(nvmlDeviceGetMigMode);
    *now = *pending = (unsigned)of->mig;
    return OK;
}

int nvmlDeviceGetMaxMigDeviceCount(device *of, unsigned *into)
{
    (void)of;
    ENTER(nvmlDeviceGetMaxMigDeviceCount);
    *into = 7;
    return OK;
}

int nvmlDeviceGetMigDeviceHandleByIndex(device *of, unsigned index, device **into)
{
    (void)of;
    ENTER(nvmlDeviceGetMigDeviceHandleByIndex);
    /* The second and the fifth place are taken. */
    if (index != 1 && index != 4)
        return NOT_FOUND;
    *into = &slices[index == 4];
    return OK;
}
#endif

int nvmlDeviceGetMemoryAffinity(device *of, unsigned words, unsigned long *into, unsigned scope)
{
    (void)scope;
    ENTER(nvmlDeviceGetMemoryAffinity);
    memset(into, 0, words * sizeof *into);
    into[0] = of->nodes;
    return OK;
}

int nvmlDeviceGetCpuAffinity(device *of, unsigned words, unsigned long *into)
{
    ENTER(nvmlDeviceGetCpuAffinity);
    memset(into, 0, words * sizeof *into);
    into[0] = of->cpus;
    into[1] = of == &gpus[1];
    return OK;
}

int nvmlDeviceGetNvLinkState(device *of, unsigned link, unsigned *active)
{
    ENTER(nvmlDeviceGetNvLinkState);
    /* The last of its links is down; beyond it there is none. */
    if (link > (unsigned)of->links)
        return INVALID;
    *active = link < (unsigned)of->links;
    return OK;
}

int nvmlDeviceGetNvLinkRemoteDeviceType(device *of, unsigned link, int *kind)
{
    (void)of;
    (void)link;
    ENTER(nvmlDeviceGetNvLinkRemoteDeviceType);
    *kind = 0;
    return OK;
}

int nvmlDeviceGetNvLinkRemotePciInfo_v2(device *of, unsigned link, pci_info *into)
{
    (void)link;
    ENTER(nvmlDeviceGetNvLinkRemotePciInfo_v2);
    return text(into->bus_id, sizeof into->bus_id, of == &gpus[0] ? gpus[1].bus : gpus[0].bus);
}

int nvmlDeviceGetMaxPcieLinkGeneration(device *of, unsigned *into)
{
    (void)of;
    ENTER(nvmlDeviceGetMaxPcieLinkGeneration);
    *into = 5;
    return OK;
}

int nvmlDeviceGetMaxPcieLinkWidth(device *of, unsigned *into)
{
    (void)of;
    ENTER(nvmlDeviceGetMaxPcieLinkWidth);
    *into = 16;
    return OK;
}

int nvmlDeviceGetTopologyCommonAncestor(device *one, device *other, int *into)
{
    (void)one;
    (void)other;
    ENTER(nvmlDeviceGetTopologyCommonAncestor);
    *into = 50;
    return OK;
}
