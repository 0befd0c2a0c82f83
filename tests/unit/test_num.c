#include "test.h"

#include <math.h>

#include "base/num.h"

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

// Decoding by the definition, in double.
static double decode(uint16_t bits, int exponent_bits, int mantissa_bits)
{
    int bias = (1 << (exponent_bits - 1)) - 1;
    int exponent = bits >> mantissa_bits & ((1 << exponent_bits) - 1);
    int mantissa = bits & ((1 << mantissa_bits) - 1);
    double sign = bits >> 15 ? -1 : 1;
    if (exponent == (1 << exponent_bits) - 1)
        return mantissa ? NAN : sign * INFINITY;
    if (exponent == 0)
        return sign * ldexp(mantissa, 1 - bias - mantissa_bits);
    return sign * ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits);
}

static const struct format {
    const char *name;
    int exponent_bits, mantissa_bits;
    uint16_t infinity;
    float (*widen)(uint16_t bits);
    uint16_t (*narrow)(float value);
} formats[] = {
    {"f16", 5, 10, 0x7c00, fj_f16_to_f32, fj_f32_to_f16},
    {"bf16", 8, 7, 0x7f80, fj_bf16_to_f32, fj_f32_to_bf16},
};

static void all_values_widen_and_return(void **state)
{
    (void)state;
    for (size_t f = 0; f < COUNT(formats); f++) {
        const struct format *format = &formats[f];
        for (int bits = 0; bits < 65536; bits++) {
            double want = decode((uint16_t)bits, format->exponent_bits, format->mantissa_bits);
            float got = format->widen((uint16_t)bits);
            if (isnan(want)) {
                assert_true(isnan(got));
                assert_int_equal(format->narrow(got), 0x7fff);
                continue;
            }
            assert_true((double)got == want && !signbit(got) == !signbit(want));
            assert_int_equal(format->narrow(got), bits);
        }
    }
}

// Between every two neighbours: the middle goes to the even one, a hair beside it to the nearer.
static void ties_go_to_even(void **state)
{
    (void)state;
    for (size_t f = 0; f < COUNT(formats); f++) {
        const struct format *format = &formats[f];
        for (uint16_t low = 0; low < format->infinity; low++) {
            uint16_t high = low + 1, even = low & 1 ? high : low;
            // Past the largest number, the neighbour is what the next exponent would hold.
            double upper = high == format->infinity
                               ? ldexp(1, 1 << (format->exponent_bits - 1))
                               : decode(high, format->exponent_bits, format->mantissa_bits);
            double lower = decode(low, format->exponent_bits, format->mantissa_bits);
            float middle = (float)((lower + upper) / 2);
            if (isinf(middle) || (double)middle != (lower + upper) / 2)
                continue; // bf16's smallest: half of it is no fp32 number
            for (int sign = 0; sign < 2; sign++) {
                float s = sign ? -1.0f : 1.0f;
                uint16_t mark = sign ? 0x8000 : 0;
                assert_int_equal(format->narrow(s * middle), even | mark);
                assert_int_equal(format->narrow(s * nextafterf(middle, INFINITY)), high | mark);
                assert_int_equal(format->narrow(s * nextafterf(middle, 0)), low | mark);
            }
        }
    }
}

static void overflow_and_nan(void **state)
{
    (void)state;
    static const uint32_t nans[] = {0x7f800001, 0x7fc00000, 0x7fffffff, 0xff800001, 0xffffffff};
    for (size_t f = 0; f < COUNT(formats); f++) {
        const struct format *format = &formats[f];
        assert_int_equal(format->narrow(INFINITY), format->infinity);
        assert_int_equal(format->narrow(-INFINITY), format->infinity | 0x8000);
        assert_int_equal(format->narrow(3.4028235e38f), format->infinity);
        assert_int_equal(format->narrow(-0.0f), 0x8000);
        assert_int_equal(format->narrow(0.0f), 0);
        for (size_t i = 0; i < COUNT(nans); i++)
            assert_int_equal(format->narrow(from_bits(nans[i])), 0x7fff);
    }
    assert_int_equal(fj_f32_to_f16(65504.0f), 0x7bff); // the largest
    assert_int_equal(fj_f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(fj_f32_to_f16(65520.0f), 0x7c00); // the tie goes to infinity
    assert_int_equal(fj_f32_to_f16(0x1p-25f), 0);      // the tie goes to zero
    assert_int_equal(fj_f32_to_f16(from_bits(bits_of(0x1p-25f) + 1)), 1);
    assert_int_equal(fj_f32_to_f16(from_bits(1)), 0);
    assert_int_equal(fj_f32_to_bf16(from_bits(1)), 0);
    assert_int_equal(fj_f32_to_bf16(from_bits(0x00008001)), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_values_widen_and_return),
        cmocka_unit_test(ties_go_to_even),
        cmocka_unit_test(overflow_and_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
