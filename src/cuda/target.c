#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/nvrtc.h"

// Compute capabilities by NVIDIA's tables, 7.5 and later: older ones lack the mma shapes and
// ldmatrix that the templates are written with. 101 became 110 in CUDA 13.
static const int known_ccs[] = {75, 80, 86, 87, 88, 89, 90, 100, 101, 103, 110, 120, 121};

#define COUNT(array) ((int)(sizeof(array) / sizeof(*(array))))
#define MAX_ARCHS 64

static int refuse_arch(const char *text)
{
    char list[128] = "";
    for (int i = 0; i < COUNT(known_ccs); i++)
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%ssm_%d", i ? ", " : "",
                 known_ccs[i]);
    return fj_err(FAJIT_E_INVAL, "\"%s\" is not a GPU architecture: use one of %s", text, list);
}

static bool skip_prefix(const char **text, const char *prefix)
{
    size_t len = strlen(prefix);
    if (strncmp(*text, prefix, len) != 0)
        return false;
    *text += len;
    return true;
}

int fj_arch_parse(const char *text, int *ret_cc)
{
    const char *at = text;
    if (!skip_prefix(&at, "sm_"))
        skip_prefix(&at, "compute_");
    if (*at < '1' || *at > '9')
        return refuse_arch(text);
    char *end;
    long cc = strtol(at, &end, 10);
    bool suffix_ok = *end == '\0' || ((*end == 'a' || *end == 'f') && end[1] == '\0');
    for (int i = 0; suffix_ok && i < COUNT(known_ccs); i++) {
        if (known_ccs[i] == cc) {
            *ret_cc = (int)cc;
            return FAJIT_OK;
        }
    }
    return refuse_arch(text);
}

// What NVRTC can compile for; 0 when it does not say.
static int list_archs(const struct fj_nvrtc *nvrtc, int ret_archs[MAX_ARCHS])
{
    int count = 0;
    if (!nvrtc || !nvrtc->nvrtcGetNumSupportedArchs || !nvrtc->nvrtcGetSupportedArchs)
        return 0;
    if (nvrtc->nvrtcGetNumSupportedArchs(&count) != NVRTC_SUCCESS || count > MAX_ARCHS)
        return 0;
    return nvrtc->nvrtcGetSupportedArchs(ret_archs) == NVRTC_SUCCESS ? count : 0;
}

// The suffix that unlocks an architecture's own instructions. An `a` cubin runs on exactly that
// capability, an `f` cubin (NVRTC 12.9 and later) on its family: 120f on 12.0 and 12.1. No NVRTC
// at hand counts as the newest.
struct special {
    int cc;
    int family; // architecture to compile for with `f`; 0: there is no family form
    bool exact; // there is an `a` form
};

static const struct special specials[] = {
    {90, 0, true}, {100, 100, true}, {103, 103, true}, {120, 120, true}, {121, 120, true},
};

static bool knows_families(const struct fj_nvrtc *nvrtc)
{
    return !nvrtc || nvrtc->major > 12 || (nvrtc->major == 12 && nvrtc->minor >= 9);
}

static void set_target(int cc, const char *suffix, bool ptx, struct fj_target *ret)
{
    snprintf(ret->name, sizeof(ret->name), "%s_%d%s", ptx ? "compute" : "sm", cc, suffix);
    ret->is_ptx = ptx;
}

static void set_native(const struct fj_nvrtc *nvrtc, int cc, bool ptx, struct fj_target *ret)
{
    for (int i = 0; i < COUNT(specials); i++) {
        const struct special *special = &specials[i];
        if (special->cc != cc)
            continue;
        if (special->family && knows_families(nvrtc)) {
            set_target(special->family, "f", ptx, ret);
            return;
        }
        set_target(cc, special->exact ? "a" : "", ptx, ret);
        return;
    }
    set_target(cc, "", ptx, ret);
}

int fj_target_for(const struct fj_nvrtc *nvrtc, int cc, bool want_ptx, struct fj_target *ret)
{
    int archs[MAX_ARCHS], below = 0, oldest = 0;
    if (cc < 10 || cc > 999)
        return fj_err(FAJIT_E_INVAL, "%d is not a compute capability: 90 stands for 9.0", cc);
    int count = list_archs(nvrtc, archs);
    for (int i = 0; i < count; i++) {
        if (archs[i] <= cc && archs[i] > below)
            below = archs[i];
        if (!oldest || archs[i] < oldest)
            oldest = archs[i];
    }
    if (count == 0 || below == cc) {
        set_native(nvrtc, cc, want_ptx, ret);
        return FAJIT_OK;
    }
    if (!below)
        return fj_err(FAJIT_E_UNSUPPORTED,
                      "NVRTC %d.%d compiles for sm_%d and newer, not for sm_%d: use an older one",
                      nvrtc->major, nvrtc->minor, oldest, cc);
    // A plain cubin runs on a later minor version of its architecture; anything newer needs PTX,
    // which the driver compiles when it loads the kernel.
    set_target(below, "", want_ptx || below / 10 != cc / 10, ret);
    return FAJIT_OK;
}
