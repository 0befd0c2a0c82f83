#include "test.h"

#include "abi_facts.h"
#include "cuda/abi.h"

static const struct abi_fact ours[] = {
#include "abi_facts.def"
};

static void test_matches_real_headers(void **state)
{
    (void)state;
    int wrong = 0;
    assert_int_equal(COUNT(ours), abi_real_count);
    for (size_t i = 0; i < COUNT(ours); i++) {
        assert_string_equal(ours[i].name, abi_real[i].name);
        if (ours[i].value == abi_real[i].value)
            continue;
        print_error("%s is %lld, NVIDIA's header says %lld\n", ours[i].name, ours[i].value,
                    abi_real[i].value);
        wrong++;
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_matches_real_headers)};
    return cmocka_run_group_tests_name("abi", tests, NULL, NULL);
}
