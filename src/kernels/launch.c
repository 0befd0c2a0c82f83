#include <string.h>

#include "kernels/kernel.h"

#define GRID_X_MAX INT64_C(0x7fffffff)
#define GRID_YZ_MAX 65535
#define MAP_BYTES 128 // sizeof(CUtensorMap), which wants 64-byte alignment
#define MAP_ALIGN 64

void fj_launch_init(struct fj_launch *launch)
{
    memset(launch, 0, offsetof(struct fj_launch, bytes));
    launch->cluster = 1;
}

int fj_launch_grid(struct fj_launch *launch, int64_t x, int64_t y, int64_t z)
{
    if (x < 0 || x > GRID_X_MAX || y < 0 || y > GRID_YZ_MAX || z < 0 || z > GRID_YZ_MAX) {
        return fj_err(FAJIT_E_UNSUPPORTED,
                      "the launch needs a grid of %lld x %lld x %lld CTAs; the device takes up to "
                      "2147483647 x 65535 x 65535: split the batch over several launches",
                      (long long)x, (long long)y, (long long)z);
    }
    launch->grid[0] = (unsigned)x;
    launch->grid[1] = (unsigned)y;
    launch->grid[2] = (unsigned)z;
    launch->empty = x == 0 || y == 0 || z == 0;
    return FAJIT_OK;
}

// Room for one parameter; NULL, and `overflow` set, when there is none.
static void *push_room(struct fj_launch *launch, size_t bytes, size_t align)
{
    size_t at = (launch->used_bytes + align - 1) / align * align;
    if (launch->n_args >= FJ_LAUNCH_ARGS_MAX || bytes > sizeof(launch->bytes) ||
        at > sizeof(launch->bytes) - bytes) {
        launch->overflow = true;
        return NULL;
    }
    launch->used_bytes = at + bytes;
    launch->args[launch->n_args++] = launch->bytes + at;
    return launch->bytes + at;
}

void fj_launch_push(struct fj_launch *launch, const void *value, size_t bytes)
{
    void *room = push_room(launch, bytes, bytes < 16 ? 8 : 16);
    if (room)
        memcpy(room, value, bytes);
}

void fj_launch_push_ptr(struct fj_launch *launch, const void *pointer)
{
    fj_launch_push(launch, &pointer, sizeof(pointer));
}

void fj_launch_push_i32(struct fj_launch *launch, int32_t value)
{
    fj_launch_push(launch, &value, sizeof(value));
}

void fj_launch_push_i64(struct fj_launch *launch, int64_t value)
{
    fj_launch_push(launch, &value, sizeof(value));
}

void fj_launch_push_f32(struct fj_launch *launch, float value)
{
    fj_launch_push(launch, &value, sizeof(value));
}

void fj_launch_push_map(struct fj_launch *launch, const struct fj_tensor_map *map)
{
    const int maps_max = (int)(sizeof(launch->maps) / sizeof(launch->maps[0]));
    if (launch->n_maps >= maps_max) {
        launch->overflow = true;
        return;
    }
    void *slot = push_room(launch, MAP_BYTES, MAP_ALIGN);
    if (!slot)
        return;
    memset(slot, 0, MAP_BYTES);
    launch->maps[launch->n_maps] = *map;
    launch->map_slots[launch->n_maps++] = slot;
}
