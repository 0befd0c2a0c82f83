// emu-record real|<gpu> FILE [prefix] runs every case there and writes the results
// emu-record compare FILE [prefix] runs them on the emulated device and compares
// emu-record clean [prefix]        runs them in the strict mode, which must find nothing to report
// emu-record faults                runs every planted fault there, and the same kernels without it
// emu-record fault real|<gpu> NAME runs one, for compute-sanitizer
#include "faults.h"
#include "record.h"

#include "base/file.h"
#include "base/num.h"
#include "emu/emu.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "fajit emulation record 1\n"

static bool open_device(struct device *device, const char *which)
{
    bool real = strcmp(which, "real") == 0;
    if (real && fj_cuda_open(&device->cuda) != FAJIT_OK) {
        printf("%s\n", fj_err_text());
        return false;
    }
    if (!real) {
        device->cuda = fj_emu_driver();
        device->ordinal = fj_emu_find_gpu(which);
    }
    const struct fj_cuda *cuda = device->cuda;
    return device->ordinal >= 0 && check_call(device, cuda->cuInit(0), "cuInit", which) &&
           check_call(device, cuda->cuDevicePrimaryCtxRetain(&device->context, device->ordinal),
                      "context", which) &&
           check_call(device, cuda->cuCtxSetCurrent(device->context), "context", which) &&
           check_call(device,
                      cuda->cuDeviceGetName(device->name, sizeof(device->name), device->ordinal),
                      "name", which) &&
           check_call(device, cuda->cuDriverGetVersion(&device->driver_version), "version", which);
}

static void close_device(struct device *device)
{
    device->cuda->cuCtxSetCurrent(NULL);
    device->cuda->cuDevicePrimaryCtxRelease_v2(device->ordinal);
}

static void run_all(struct run *run)
{
    run_driver_cases(run);
    run_lane_cases(run);
    run_wgmma_cases(run);
    run_tma_cases(run);
    run_cluster_cases(run);
}

// Writing. One line per case with its size, then the payloads in the same order.

struct writer {
    struct fj_buf lines, payload;
    int count;
};

static void write_case(void *user, const char *name, const struct outcome *outcome)
{
    struct writer *writer = user;
    fj_buf_printf(&writer->lines, "%s %zu %016" PRIx64 "\n", name, outcome->payload.len,
                  outcome->digest);
    fj_buf_append(&writer->payload, outcome->payload.data, outcome->payload.len);
    writer->count++;
}

static int record(const char *which, const char *path, const char *only)
{
    struct device device = {0};
    struct writer writer = {0};
    struct run run = {.device = &device, .only = only, .visit = write_case, .user = &writer};
    if (!open_device(&device, which))
        return 1;
    run_all(&run);
    struct fj_buf file = {0};
    fj_buf_printf(&file, MAGIC "device %s\ndriver %d\ncases %d\n", device.name,
                  device.driver_version, writer.count);
    fj_buf_append(&file, writer.lines.data, writer.lines.len);
    fj_buf_puts(&file, "end\n");
    fj_buf_append(&file, writer.payload.data, writer.payload.len);
    FILE *out = fopen(path, "wb");
    bool ok = out && !file.failed && fwrite(file.data, 1, file.len, out) == file.len;
    ok = out && fclose(out) == 0 && ok;
    printf("%s: %d cases, %d failed, %zu bytes\n", device.name, writer.count, run.failures,
           file.len);
    fj_buf_free(&file);
    fj_buf_free(&writer.lines);
    fj_buf_free(&writer.payload);
    return ok && run.failures == 0 ? 0 : 1;
}

// Comparing.

struct reader {
    struct fj_buf file;
    const char *lines, *payloads;
    int compared, differ;
};

static bool read_record(struct reader *reader, const char *path)
{
    if (fj_file_read(path, 64 << 20, &reader->file) != FAJIT_OK) {
        printf("%s\n", fj_err_text());
        return false;
    }
    const char *text = reader->file.data, *end = strstr(text, "\nend\n");
    reader->lines = strstr(text, "\ncases ");
    if (strncmp(text, MAGIC, strlen(MAGIC)) || !end || !reader->lines) {
        printf("%s is no record\n", path);
        return false;
    }
    reader->payloads = end + 5;
    printf("%.*s\n", (int)(reader->lines - text - strlen(MAGIC)), text + strlen(MAGIC));
    return true;
}

// The recorded payload of a case; NULL when there is none.
static const char *find_record(const struct reader *reader, const char *name, size_t *ret_len,
                               uint64_t *ret_digest)
{
    const char *line = strchr(reader->lines + 1, '\n') + 1, *payload = reader->payloads;
    while (line < reader->payloads && strncmp(line, "end\n", 4)) {
        char found[160];
        if (sscanf(line, "%159s %zu %" SCNx64, found, ret_len, ret_digest) != 3)
            return NULL;
        if (strcmp(found, name) == 0)
            return payload;
        payload += *ret_len;
        line = strchr(line, '\n') + 1;
    }
    return NULL;
}

static double widen(char format, const char *bytes)
{
    uint32_t word = 0;
    uint16_t half = 0;
    float single;
    double wide;
    switch (format) {
    case 'h':
    case 'H':
        memcpy(&half, bytes, 2);
        return fj_f16_to_f32(half);
    case 'b':
    case 'B':
        memcpy(&half, bytes, 2);
        return fj_bf16_to_f32(half);
    case 'd':
        memcpy(&wide, bytes, 8);
        return wide;
    default:
        memcpy(&word, bytes, 4);
        memcpy(&single, &word, 4);
        return single;
    }
}

static bool agrees(const struct outcome *outcome, const char *got, const char *want, double size)
{
    if (memcmp(got, want, (size_t)outcome->width) == 0)
        return true;
    if (outcome->rule == RULE_EXACT || outcome->rule == RULE_DIGEST)
        return false;
    double a = widen(outcome->format, got), b = widen(outcome->format, want), bound;
    if (!isfinite(b) || !isfinite(a))
        return isnan(a) && isnan(b);
    switch (outcome->rule) {
    case RULE_RELATIVE: // both lie within the bound of the true value
        bound = 2 * outcome->bound * fabs(b);
        break;
    case RULE_ABSOLUTE:
        bound = 2 * outcome->bound;
        break;
    default:
        bound = outcome->bound * 0x1p-23 * size;
    }
    return fabs(a - b) <= bound;
}

static void print_difference(const struct outcome *outcome, size_t at, const char *got,
                             const char *want)
{
    uint64_t a = 0, b = 0;
    memcpy(&a, got, (size_t)outcome->width);
    memcpy(&b, want, (size_t)outcome->width);
    printf("  [%zu] emulated %0*" PRIx64 ", recorded %0*" PRIx64 "\n", at, 2 * outcome->width, a,
           2 * outcome->width, b);
}

static void compare_case(void *user, const char *name, const struct outcome *outcome)
{
    struct reader *reader = user;
    size_t len, width = (size_t)outcome->width, wrong = 0;
    uint64_t digest;
    const char *want = find_record(reader, name, &len, &digest), *got = outcome->payload.data;
    reader->compared++;
    if (!want || digest != outcome->digest || len != outcome->payload.len) {
        printf("%s: %s\n", name,
               want ? "recorded for another kernel: record it again" : "not in the record");
        reader->differ++;
        return;
    }
    for (size_t at = 0; at < len; at += width) {
        double size = outcome->magnitude.len ? widen('f', outcome->magnitude.data + at) : 0;
        if (agrees(outcome, got + at, want + at, size))
            continue;
        if (wrong++ == 0)
            printf("%s:\n", name);
        if (wrong <= 4)
            print_difference(outcome, at / width, got + at, want + at);
    }
    if (wrong)
        printf("  %zu of %zu differ\n", wrong, len / width);
    reader->differ += wrong != 0;
}

static int compare(const char *path, const char *only)
{
    struct device device = {0};
    struct reader reader = {0};
    struct run run = {.device = &device,
                      .want_magnitude = true,
                      .only = only,
                      .visit = compare_case,
                      .user = &reader};
    if (!read_record(&reader, path) || !open_device(&device, "h200"))
        return 1;
    run_all(&run);
    printf("%d cases, %d differ, %d did not run\n", reader.compared, reader.differ, run.failures);
    fj_buf_free(&reader.file);
    return reader.compared && !reader.differ && !run.failures ? 0 : 1;
}

static void ignore_case(void *user, const char *name, const struct outcome *outcome)
{
    (void)name;
    (void)outcome;
    ++*(int *)user;
}

static int run_clean(const char *only)
{
    struct device device = {0};
    int count = 0;
    struct run run = {.device = &device, .only = only, .visit = ignore_case, .user = &count};
    if (!open_device(&device, "h200"))
        return 1;
    fj_emu_set_check(device.context, true);
    run_all(&run);
    printf("%d cases without a report, %d with one\n", count, run.failures);
    return run.failures != 0;
}

// Faults.

static bool try_fault(const struct device *device, const struct fault *fault, bool planted)
{
    CUresult want = planted ? fault->code : CUDA_SUCCESS, got = run_fault(device, fault, planted);
    const char *report = fj_emu_report();
    bool ok = got == want && (!planted || strstr(report, fault->word));
    if (!ok)
        printf("%s %s: %d instead of %d: \"%s\"\n", fault->name, planted ? "planted" : "clean",
               (int)got, (int)want, report);
    renew_context(device);
    return ok;
}

static int run_faults(void)
{
    struct device device = {0};
    int wrong = 0;
    for (int i = 0; i < n_faults; i++) {
        if (!open_device(&device, "h200"))
            return 1;
        fj_emu_set_check(device.context, faults[i].check);
        wrong += !try_fault(&device, &faults[i], true);
        fj_emu_set_check(device.context, true); // clean kernels give no report in the strict mode
        wrong += !try_fault(&device, &faults[i], false);
        close_device(&device);
    }
    printf("%d planted faults, %d wrong answers\n", n_faults, wrong);
    return wrong != 0;
}

static int run_one_fault(const char *which, const char *name)
{
    struct device device = {0};
    for (int i = 0; i < n_faults; i++) {
        if (strcmp(faults[i].name, name))
            continue;
        if (faults[i].hangs && strcmp(which, "real") == 0) {
            printf("%s: hangs\n", name);
            return 0;
        }
        if (!open_device(&device, which))
            return 1;
        printf("%s: result %d\n", name, (int)run_fault(&device, &faults[i], true));
        return 0;
    }
    for (int i = 0; i < n_faults; i++)
        printf("%s\n", faults[i].name);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 3 && strcmp(argv[1], "compare") == 0)
        return compare(argv[2], argc > 3 ? argv[3] : NULL);
    if (argc >= 2 && strcmp(argv[1], "clean") == 0)
        return run_clean(argc > 2 ? argv[2] : NULL);
    if (argc == 2 && strcmp(argv[1], "faults") == 0)
        return run_faults();
    if (argc == 4 && strcmp(argv[1], "fault") == 0)
        return run_one_fault(argv[2], argv[3]);
    if (argc >= 3)
        return record(argv[1], argv[2], argc > 3 ? argv[3] : NULL);
    printf("usage: emu-record real|GPU FILE, or emu-record compare FILE [prefix]\n");
    return 2;
}
