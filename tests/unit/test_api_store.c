// The host's own storage, on the fake driver and NVRTC.
#include "api_fixture.h"

#include <pthread.h>

#define SIMT "attn:f32,d64,kernel=simt"
#define ITEMS 16

struct item {
    char key[65];
    char *bytes;
    size_t len;
};

// A host that keeps what it is given in memory.
struct host {
    pthread_mutex_t mutex;
    struct item items[ITEMS];
    int count;
    int gets, sets, appends, borrowed; // borrowed: handed out and not released
};

static struct item *find_item(struct host *host, const char *key)
{
    for (int i = 0; i < host->count; i++)
        if (strcmp(host->items[i].key, key) == 0)
            return &host->items[i];
    return NULL;
}

static int host_get(void *user, const char *key, const void **ret_bytes, size_t *ret_size)
{
    struct host *host = user;
    pthread_mutex_lock(&host->mutex);
    host->gets++;
    const struct item *item = find_item(host, key);
    if (item) {
        // Exactly as large as it says: a read past the end is one past the block's.
        void *copy = malloc(item->len ? item->len : 1);
        if (item->len)
            memcpy(copy, item->bytes, item->len);
        *ret_bytes = copy;
        *ret_size = item->len;
        host->borrowed++;
    }
    pthread_mutex_unlock(&host->mutex);
    return item ? 0 : -1;
}

static void host_release(void *user, const char *key, const void *bytes)
{
    struct host *host = user;
    assert_true(*key);
    pthread_mutex_lock(&host->mutex);
    host->borrowed--;
    pthread_mutex_unlock(&host->mutex);
    free((void *)bytes);
}

static void put(struct host *host, const char *key, const void *bytes, size_t len, bool add)
{
    struct item *item = find_item(host, key);
    if (!item) {
        assert_true(host->count < ITEMS);
        item = &host->items[host->count++];
        snprintf(item->key, sizeof(item->key), "%s", key);
    }
    size_t before = add ? item->len : 0;
    item->bytes = realloc(item->bytes, before + len + 1);
    memcpy(item->bytes + before, bytes, len);
    item->len = before + len;
}

static void host_set(void *user, const char *key, const void *bytes, size_t len)
{
    struct host *host = user;
    pthread_mutex_lock(&host->mutex);
    host->sets++;
    assert_int_equal(strspn(key, "0123456789abcdef"), 64);
    put(host, key, bytes, len, false);
    pthread_mutex_unlock(&host->mutex);
}

static void host_append(void *user, const char *key, const void *bytes, size_t len)
{
    struct host *host = user;
    pthread_mutex_lock(&host->mutex);
    host->appends++;
    assert_string_equal(key, FAJIT_STORE_RECORDS);
    assert_int_equal(((const char *)bytes)[len - 1], '\n');
    put(host, key, bytes, len, true);
    pthread_mutex_unlock(&host->mutex);
}

static struct fajit_store store_of(struct host *host)
{
    return (struct fajit_store){.struct_size = sizeof(struct fajit_store),
                                .user = host,
                                .get = host_get,
                                .release = host_release,
                                .set = host_set,
                                .append = host_append};
}

static struct fajit_ctx *open_with(const struct world *w, const struct fajit_store *store,
                                   enum fajit_cache_mode mode)
{
    struct fajit_ctx_params params = world_params(w);
    struct fajit_ctx *ctx;
    params.cache_mode = mode;
    params.store = store;
    if (fj_ctx_create(fake_cuda(), &params, &ctx))
        fail_msg("%s", fajit_last_error());
    use_fake_nvrtc(ctx);
    return ctx;
}

static void host_free(struct host *host)
{
    assert_int_equal(host->borrowed, 0);
    for (int i = 0; i < host->count; i++)
        free(host->items[i].bytes);
}

// Plans in a context of its own and says where the kernel came from.
static enum fajit_origin plan_once(const struct world *w, const struct fajit_store *store,
                                   enum fajit_cache_mode mode, struct fajit_cache_stats *ret_stats)
{
    struct fajit_plan_info info = {.struct_size = sizeof(info)};
    struct fajit_cache_stats stats = {.struct_size = sizeof(stats)};
    struct fajit_ctx *ctx = open_with(w, store, mode);
    struct fajit_plan *plan = planned(ctx, SIMT);
    assert_int_equal(fajit_plan_info(plan, &info), FAJIT_OK);
    assert_int_equal(fajit_cache_stats(ctx, &stats), FAJIT_OK);
    assert_non_null(strstr(fajit_plan_source(plan), "__global__"));
    fajit_plan_destroy(&plan);
    fajit_ctx_destroy(&ctx);
    if (ret_stats)
        *ret_stats = stats;
    return info.origin;
}

static void test_layers(void **state)
{
    struct world *w = *state;
    struct host host = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    const struct fajit_store store = store_of(&host);
    struct fajit_cache_stats stats;
    assert_int_equal(plan_once(w, &store, FAJIT_CACHE_OFF, &stats), FAJIT_FROM_COMPILE);
    assert_int_equal(host.sets, 1);
    assert_int_equal(stats.store_hits, 0);
    assert_int_equal(plan_once(w, &store, FAJIT_CACHE_OFF, &stats), FAJIT_FROM_STORE);
    assert_int_equal(stats.store_hits, 1);
    assert_int_equal(stats.misses, 0);
    // Read only: asked, given nothing.
    host.count = 0;
    assert_int_equal(plan_once(w, &store, FAJIT_CACHE_RO, NULL), FAJIT_FROM_COMPILE);
    assert_int_equal(host.sets, 1);
    assert_int_equal(plan_once(w, &store, FAJIT_CACHE_RW, NULL), FAJIT_FROM_COMPILE);
    assert_int_equal(host.sets, 2);
    // The directory comes first.
    int gets = host.gets;
    assert_int_equal(plan_once(w, &store, FAJIT_CACHE_RW, NULL), FAJIT_FROM_DISK);
    assert_true(host.gets <= gets + 1); // for records at most
    host_free(&host);
}

// Whatever comes back instead of an entry is a miss, is counted, and is set again.
static void test_hostile_bytes(void **state)
{
    struct world *w = *state;
    struct host host = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    const struct fajit_store store = store_of(&host);
    struct fajit_cache_stats stats;
    plan_once(w, &store, FAJIT_CACHE_OFF, NULL);
    struct item good = host.items[0], *item = &host.items[0];
    unsigned seed = 20;
    good.bytes = malloc(good.len);
    memcpy(good.bytes, item->bytes, good.len);
    for (int i = 0; i < 60; i++) {
        put(&host, good.key, good.bytes, good.len, false);
        if (i < 4) {
            item->len = (const size_t[]){0, 1, 100, good.len - 1}[i];
        } else if (i == 4) {
            put(&host, good.key, "x", 1, true); // a byte too many
        } else if (i == 5) {
            memset(item->bytes, 0xff, item->len);
        } else {
            size_t at = (size_t)rand_r(&seed) % good.len;
            item->bytes[at] = (char)(item->bytes[at] ^ (1 + rand_r(&seed) % 255));
        }
        assert_int_equal(plan_once(w, &store, FAJIT_CACHE_OFF, &stats), FAJIT_FROM_COMPILE);
        assert_int_equal(stats.corrupt, 1);
        assert_int_equal(stats.store_hits, 0);
        // As it was, but for the time in it.
        assert_int_equal(item->len, good.len);
        assert_int_equal(plan_once(w, &store, FAJIT_CACHE_OFF, &stats), FAJIT_FROM_STORE);
        assert_int_equal(stats.corrupt, 0);
    }
    // An entry that is sound, of another key.
    struct fajit_ctx *ctx = open_with(w, &store, FAJIT_CACHE_OFF);
    struct fajit_plan *plan = planned(ctx, SIMT ",causal");
    fajit_plan_destroy(&plan);
    fajit_ctx_destroy(&ctx);
    assert_int_equal(host.count, 2);
    put(&host, good.key, host.items[1].bytes, host.items[1].len, false);
    assert_int_equal(plan_once(w, &store, FAJIT_CACHE_OFF, &stats), FAJIT_FROM_COMPILE);
    assert_int_equal(stats.corrupt, 1);
    print_message("seed 20\n");
    free(good.bytes);
    host_free(&host);
}

static int find_verdict(void *user, const struct fajit_tune_record *record)
{
    return strcmp(record->verdict, user) == 0;
}

static void test_records(void **state)
{
    struct world *w = *state;
    struct host host = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    const struct fajit_store store = store_of(&host);
    struct fajit_problem problem = parsed("attn:f32,b1,h1,q64,k64,d32,kernel=simt");
    struct fajit_tune_result result = {.struct_size = sizeof(result)};
    const struct fajit_tune_params params = {.struct_size = sizeof(params), .max_candidates = 2};
    struct fajit_ctx *ctx = open_with(w, &store, FAJIT_CACHE_OFF);
    assert_int_not_equal(fajit_tune(ctx, &problem, &params, &result), FAJIT_OK); // all wrong
    fajit_ctx_destroy(&ctx);
    struct item *records = find_item(&host, FAJIT_STORE_RECORDS);
    assert_non_null(records);
    assert_true(host.appends > 0);

    ctx = open_with(w, &store, FAJIT_CACHE_OFF);
    assert_int_equal(fajit_tune_visit(ctx, NULL, find_verdict, "wrong"), 1);
    fajit_ctx_destroy(&ctx);
    // Lines that are none are passed over, the others stay.
    put(&host, FAJIT_STORE_RECORDS, "\0\xff nonsense\nfj1 a b", 19, true);
    ctx = open_with(w, &store, FAJIT_CACHE_OFF);
    assert_int_equal(fajit_tune_visit(ctx, NULL, find_verdict, "wrong"), 1);
    fajit_ctx_destroy(&ctx);
    int appends = host.appends;
    ctx = open_with(w, &store, FAJIT_CACHE_RO);
    assert_int_not_equal(fajit_tune(ctx, &problem, &params, &result), FAJIT_OK);
    fajit_ctx_destroy(&ctx);
    assert_int_equal(host.appends, appends);
    host_free(&host);
}

static void test_halves_of_a_store(void **state)
{
    struct world *w = *state;
    struct host host = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct fajit_store store = store_of(&host);
    store.get = NULL;
    store.append = NULL;
    assert_int_equal(plan_once(w, &store, FAJIT_CACHE_OFF, NULL), FAJIT_FROM_COMPILE);
    assert_int_equal(host.sets, 1);
    store = store_of(&host);
    store.set = NULL;
    assert_int_equal(plan_once(w, &store, FAJIT_CACHE_OFF, NULL), FAJIT_FROM_STORE);
    host_free(&host);
    struct fajit_ctx_params params = world_params(w);
    struct fajit_ctx *ctx;
    store.struct_size = 0;
    params.store = &store;
    check_error(fj_ctx_create(fake_cuda(), &params, &ctx), FAJIT_E_INVAL, "struct fajit_store");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_layers, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_hostile_bytes, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_records, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_halves_of_a_store, world_setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
