#include "library.h"

#include <dlfcn.h>
#include <onnxruntime_c_api.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#ifdef __APPLE__
#define LIBRARY_NAME "libonnxruntime.dylib"
#else
#define LIBRARY_NAME "libonnxruntime.so"
#endif

/* Not for the loader's sake, which has a lock of its own: what dlerror says is to be of this call, and the environment
 * is changed. */
static pthread_mutex_t library_lock = PTHREAD_MUTEX_INITIALIZER;

/* Loads a library and finds ONNX Runtime's entry in it. It is never unloaded: its threads and thread-locals may be in
 * use until the process ends. */
static ea_status library_open(const char *path, const OrtApiBase *(**entry)(void), ea_error *error)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return eai_fail(error, EA_PROVIDER_ERROR,
                        "ONNX Runtime can't be loaded: %.600s\n"
                        "Give the path of its library in ea_options.onnxruntime or in EDGEADAPT_ONNXRUNTIME.",
                        dlerror());
    /* As POSIX has it: a pointer to data becomes one to a function in memory alone. */
    void *symbol = dlsym(library, "OrtGetApiBase");
    if (!symbol)
        return eai_fail(error, EA_PROVIDER_ERROR, "%.600s is not ONNX Runtime: it has no OrtGetApiBase.", path);
    memcpy(entry, &symbol, sizeof symbol);
    return EA_OK;
}

ea_status eai_library_load(const char *path, const OrtApiBase **base, ea_error *error)
{
    const OrtApiBase *(*entry)(void) = NULL;
    pthread_mutex_lock(&library_lock);
    const char *chosen = path ? path : getenv("EDGEADAPT_ONNXRUNTIME");
    setenv("ORT_DISABLE_TELEMETRY", "1", 0);
    ea_status status = library_open(chosen && *chosen ? chosen : LIBRARY_NAME, &entry, error);
    pthread_mutex_unlock(&library_lock);
    if (status == EA_OK)
        *base = entry();
    return status;
}

/* Reads the first three numbers of a version: those of 1.23.0 for 1.23, and for 1.23.0rc1. */
static void library_release(const char *version, long numbers[3])
{
    for (int part = 0; part < 3; part++) {
        while (*version && !(*version >= '0' && *version <= '9'))
            version++;
        numbers[part] = 0;
        for (; *version >= '0' && *version <= '9'; version++)
            if (numbers[part] < 1000000)
                numbers[part] = 10 * numbers[part] + (*version - '0');
    }
}

ea_status eai_library_check(const char *version, const char *required, ea_error *error)
{
    long got[3], wanted[3];
    library_release(version, got);
    library_release(required, wanted);
    int part = 0;
    while (part < 2 && got[part] == wanted[part])
        part++;
    if (got[part] < wanted[part])
        return eai_fail(error, EA_BUNDLE_ERROR,
                        "The bundle needs ONNX Runtime %.40s, and this one is %.40s.\nUpdate it.", required, version);
    if (got[0] == 1 && got[1] < EAI_LIBRARY_API)
        return eai_fail(error, EA_PROVIDER_ERROR,
                        "This library needs ONNX Runtime 1.%d or newer, and this one is %.40s.\nGive a newer one.",
                        EAI_LIBRARY_API, version);
    return EA_OK;
}
