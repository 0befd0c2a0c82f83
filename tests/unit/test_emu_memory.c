// The allocation table of the emulated device.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants the four above first
#include <cmocka.h>

#include "base/err.h"
#include "base/thread.h"
#include "emu/memory.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t allocate(uint64_t bytes)
{
    uint64_t addr = 0;
    assert_int_equal(fj_emu_mem_alloc(bytes, &addr), FAJIT_OK);
    return addr;
}

static void assert_described(uint64_t addr, uint64_t bytes, const char *want)
{
    char text[160];
    fj_emu_mem_describe(addr, bytes, text, sizeof(text));
    if (!strstr(text, want))
        fail_msg("\"%s\" does not say \"%s\"", text, want);
}

static void test_bounds(void **state)
{
    (void)state;
    uint64_t a = allocate(1000);
    assert_int_equal(a % 256, 0);
    assert_non_null(fj_emu_mem_find(a, 1000));
    assert_non_null(fj_emu_mem_find(a + 999, 1));
    assert_null(fj_emu_mem_find(a, 1001));
    assert_null(fj_emu_mem_find(a + 1000, 1));
    assert_null(fj_emu_mem_find(a - 1, 2));
    assert_null(fj_emu_mem_find(a + 10, UINT64_MAX - 5)); // the sum wraps
    assert_null(fj_emu_mem_find(0, 1));
    assert_described(a + 1000, 4, "0 bytes past allocation #");
    assert_described(a + 998, 4, "2 of its bytes past allocation #");
    assert_described(a + 1004, 4, "4 bytes past allocation #");
    assert_described(a - 16, 4, "16 bytes before allocation #");
    assert_described(a + 8, 4, "byte 8 of allocation #");
    assert_described(16, 4, "null");
    assert_described(UINT64_C(1) << 60, 4, "not memory of this device");
    assert_int_equal(fj_emu_mem_free(a), FAJIT_OK);
}

static void test_contents(void **state)
{
    (void)state;
    uint64_t a = allocate(5000);
    uint8_t *bytes = (uint8_t *)(uintptr_t)a;
    for (int i = 0; i < 5000; i++)
        assert_int_equal(bytes[i], 0);
    memset(bytes, 7, 5000);
    assert_int_equal(fj_emu_mem_free(a), FAJIT_OK);
}

static void test_use_after_free(void **state)
{
    (void)state;
    uint64_t a = allocate(4096), b = allocate(4096);
    assert_non_null(fj_emu_mem_find(a, 4)); // now among this thread's hits
    assert_int_equal(fj_emu_mem_free(a), FAJIT_OK);
    assert_null(fj_emu_mem_find(a, 4));
    assert_described(a + 100, 4, "freed");
    assert_non_null(fj_emu_mem_find(b, 4096));
    for (int i = 0; i < 20; i++) { // nobody gets the address while it is remembered
        uint64_t c = allocate(4096);
        assert_int_not_equal(c, a);
        assert_int_equal(fj_emu_mem_free(c), FAJIT_OK);
    }
    assert_described(a, 4, "freed");
    assert_int_equal(fj_emu_mem_free(a), FAJIT_E_INVAL);
    assert_int_equal(fj_emu_mem_free(b + 256), FAJIT_E_INVAL);
    assert_int_equal(fj_emu_mem_free(b), FAJIT_OK);
}

static void test_many(void **state)
{
    (void)state;
    enum { COUNT = 1500 };
    static uint64_t addr[COUNT];
    for (int i = 0; i < COUNT; i++)
        addr[i] = allocate((uint64_t)i + 1);
    for (int i = 0; i < COUNT; i++) {
        const struct fj_emu_block *block = fj_emu_mem_find(addr[i] + (uint64_t)i, 1);
        assert_non_null(block);
        assert_int_equal(block->base, addr[i]);
        assert_int_equal(block->bytes, i + 1);
    }
    for (int i = 0; i < COUNT; i += 2)
        assert_int_equal(fj_emu_mem_free(addr[i]), FAJIT_OK);
    for (int i = 0; i < COUNT; i++)
        assert_true((fj_emu_mem_find(addr[i], 1) != NULL) == (i % 2 == 1));
    for (int i = 1; i < COUNT; i += 2)
        assert_int_equal(fj_emu_mem_free(addr[i]), FAJIT_OK);
}

static void test_owner(void **state)
{
    (void)state;
    int me, you;
    uint64_t a, b, c;
    assert_int_equal(fj_emu_mem_alloc_for(64, 3, &me, &a), FAJIT_OK);
    assert_int_equal(fj_emu_mem_alloc_for(64, 3, &you, &b), FAJIT_OK);
    assert_int_equal(fj_emu_mem_alloc_for(64, 3, &me, &c), FAJIT_OK);
    assert_int_equal(fj_emu_mem_find(b, 1)->device, 3);
    fj_emu_mem_free_all(&me);
    assert_null(fj_emu_mem_find(a, 1));
    assert_null(fj_emu_mem_find(c, 1));
    assert_ptr_equal(fj_emu_mem_find(b, 1)->owner, &you);
    fj_emu_mem_free_all(&you);
}

static void test_tracking(void **state)
{
    (void)state;
    uint64_t before = allocate(64);
    fj_emu_mem_track(true);
    uint64_t a = allocate(64);
    fj_emu_mem_mark(a + 8, 4);
    const struct fj_emu_block *block = fj_emu_mem_find(a, 64);
    assert_null(fj_emu_mem_find(before, 64)->written); // nobody knows what was written there
    assert_non_null(block->written);
    for (int i = 0; i < 64; i++)
        assert_int_equal(block->written[i], i >= 8 && i < 12);
    fj_emu_mem_forget(1); // another device
    assert_non_null(fj_emu_mem_find(a, 64)->written);
    fj_emu_mem_forget(0);
    assert_null(fj_emu_mem_find(a, 64)->written);
    fj_emu_mem_track(false);
    assert_int_equal(fj_emu_mem_free(a), FAJIT_OK);
    assert_int_equal(fj_emu_mem_free(before), FAJIT_OK);
}

static void test_too_large(void **state)
{
    (void)state;
    uint64_t addr;
    assert_int_equal(fj_emu_mem_alloc(UINT64_C(1) << 60, &addr), FAJIT_E_NOMEM);
    assert_int_equal(fj_emu_mem_alloc(UINT64_MAX, &addr), FAJIT_E_NOMEM);
}

// A free from another thread waits for the running launch.

static atomic_int freed;

static void *free_it(void *addr)
{
    int status = fj_emu_mem_free((uintptr_t)addr);
    atomic_store(&freed, 1);
    return (void *)(intptr_t)status;
}

static void test_free_waits_for_launches(void **state)
{
    (void)state;
    pthread_t thread;
    void *status;
    uint64_t a = allocate(64);
    fj_emu_mem_begin_launch();
    assert_int_equal(pthread_create(&thread, NULL, free_it, (void *)(uintptr_t)a), 0);
    usleep(20000);
    assert_int_equal(atomic_load(&freed), 0);
    assert_non_null(fj_emu_mem_find(a, 64));
    fj_emu_mem_end_launch();
    pthread_join(thread, &status);
    assert_int_equal((intptr_t)status, FAJIT_OK);
    assert_null(fj_emu_mem_find(a, 64));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),         cmocka_unit_test(test_contents),
        cmocka_unit_test(test_use_after_free), cmocka_unit_test(test_many),
        cmocka_unit_test(test_owner),          cmocka_unit_test(test_tracking),
        cmocka_unit_test(test_too_large),      cmocka_unit_test(test_free_waits_for_launches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
