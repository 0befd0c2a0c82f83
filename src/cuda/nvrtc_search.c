#include "cuda/nvrtc_search.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"

#define PATH_MAX_BYTES 1024

// Folders below a place, as wheels, toolkits and fajit's own quick start lay them out.
static const char *const in_place[] = {"", NULL};
static const char *const in_wheels[] = {"nvidia/cu[0-9]*/lib", "nvidia/cuda_nvrtc/lib", NULL};
static const char *const in_private[] = {"", "lib", "nvidia/cu[0-9]*/lib", "nvidia/cuda_nvrtc/lib",
                                         NULL};
static const char *const in_toolkit[] = {"lib64", "lib", "targets/*/lib", NULL};

// Before or after what the dynamic loader finds by itself.
enum turn { EARLY, LATE };

struct place {
    enum turn turn;
    const char *env; // skipped when the variable is not set; NULL: `dir` is absolute
    const char *dir; // may hold wildcards
    const char *const *folders;
};

static const struct place places[] = {
    {EARLY, "XDG_DATA_HOME", "/fajit/nvrtc", in_private},
    {EARLY, "HOME", "/.local/share/fajit/nvrtc", in_private},
    {EARLY, "VIRTUAL_ENV", "/lib/python3*/site-packages", in_wheels},
    {EARLY, "CONDA_PREFIX", "/lib/python3*/site-packages", in_wheels},
    {EARLY, "HOME", "/.local/lib/python3*/site-packages", in_wheels},
    {EARLY, "HOME", "/.pyenv/versions/*/lib/python3*/site-packages", in_wheels},
    {EARLY, NULL, "/usr/local/lib/python3*/*-packages", in_wheels},
    {EARLY, NULL, "/usr/lib/python3*/*-packages", in_wheels},
    {EARLY, "CONDA_PREFIX", "/lib", in_place},
    {EARLY, "CONDA_PREFIX", "", in_toolkit},
    {EARLY, "CUDA_HOME", "", in_toolkit},
    {EARLY, "CUDA_PATH", "", in_toolkit},
    {LATE, NULL, "/usr/local/cuda", in_toolkit},
    {LATE, NULL, "/usr/local/cuda-*", in_toolkit},
    {LATE, NULL, "/opt/cuda", in_toolkit},
};

struct search {
    bool (*visit)(void *user, const struct fj_spot *spot);
    void *user;
    char soname[32];
};

static bool show(const struct search *search, enum fj_spot_kind kind, const char *path,
                 bool present)
{
    struct fj_spot spot = {.kind = kind, .path = path, .present = present};
    return search->visit(search->user, &spot);
}

static bool show_present(void *user, const char *path)
{
    return show(user, FJ_SPOT_FILE, path, true);
}

// Last first: where versions stand in the path, the newest sorts last.
static bool show_matches(struct search *search, const char *pattern)
{
    bool any;
    bool done = fj_file_match(pattern, show_present, search, &any);
    return any ? done : show(search, FJ_SPOT_FILE, pattern, false);
}

// What its variable says; NULL when that is not set.
static const char *root_of(const struct place *place)
{
    return place->env ? fj_env(place->env) : "";
}

// Two variables may name one place.
static bool is_again(const struct place *place)
{
    char own[PATH_MAX_BYTES], other[PATH_MAX_BYTES];
    snprintf(own, sizeof(own), "%s%s", root_of(place), place->dir);
    for (const struct place *p = places; p < place; p++) {
        const char *root = root_of(p);
        snprintf(other, sizeof(other), "%s%s", root ? root : "", p->dir);
        if (root && p->folders == place->folders && strcmp(own, other) == 0)
            return true;
    }
    return false;
}

static bool show_place(struct search *search, const struct place *place)
{
    const char *root = root_of(place);
    if (!root || is_again(place))
        return false;
    for (const char *const *folder = place->folders; *folder; folder++) {
        char pattern[PATH_MAX_BYTES];
        int len = snprintf(pattern, sizeof(pattern), "%s%s%s%s/%s", root, place->dir,
                           **folder ? "/" : "", *folder, search->soname);
        if (len < (int)sizeof(pattern) && show_matches(search, pattern))
            return true;
    }
    return false;
}

static bool show_places(struct search *search, enum turn turn)
{
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        if (places[i].turn == turn && show_place(search, &places[i]))
            return true;
    }
    return false;
}

static bool show_major(struct search *search)
{
    return show(search, FJ_SPOT_LOADED, search->soname, false) || show_places(search, EARLY) ||
           show(search, FJ_SPOT_SONAME, search->soname, false) || show_places(search, LATE);
}

// A directory is searched for the sonames; anything else is taken as it stands.
static bool show_wish(struct search *search, const char *path, const int *majors, int count)
{
    if (!strchr(path, '/'))
        return show(search, FJ_SPOT_SONAME, path, false);
    char probe[PATH_MAX_BYTES];
    if (!fj_path_join(probe, sizeof(probe), path, ".") || !fj_file_exists(probe))
        return show(search, FJ_SPOT_FILE, path, fj_file_exists(path));
    for (int i = 0; i < count; i++) {
        snprintf(search->soname, sizeof(search->soname), "libnvrtc.so.%d", majors[i]);
        if (fj_path_join(probe, sizeof(probe), path, search->soname) &&
            show(search, FJ_SPOT_FILE, probe, fj_file_exists(probe)))
            return true;
    }
    return false;
}

// Cubins load on a driver of the compiler's major version or newer, so the driver's own comes
// first; a newer one is the last resort and may yield cubins that the driver refuses.
static int order_majors(int driver_version, int ret_majors[3])
{
    static const int known[] = {13, 12};
    int count = 0, own = driver_version / 1000;
    if (own >= 12)
        ret_majors[count++] = own;
    for (int i = 0; i < 2; i++) {
        if (known[i] != own)
            ret_majors[count++] = known[i];
    }
    return count;
}

bool fj_nvrtc_search(const char *path, int driver_version,
                     bool (*visit)(void *user, const struct fj_spot *spot), void *user)
{
    struct search search = {.visit = visit, .user = user};
    int majors[3];
    int count = order_majors(driver_version, majors);
    if (path && *path)
        return show_wish(&search, path, majors, count);
    for (int i = 0; i < count; i++) {
        snprintf(search.soname, sizeof(search.soname), "libnvrtc.so.%d", majors[i]);
        if (show_major(&search))
            return true;
    }
    return false;
}
