#include "kernels/words.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool fj_parse_count(const char *text, size_t len, int64_t max, int64_t *ret_value)
{
    int64_t value = 0;
    if (len == 0)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_digit(text[i]) || value > (INT64_MAX - 9) / 10)
            return false;
        value = value * 10 + (text[i] - '0');
    }
    if (value < 1 || value > max)
        return false;
    *ret_value = value;
    return true;
}

// A decimal number being read: `mantissa` * 10^`exponent`.
struct decimal {
    uint64_t mantissa;
    int exponent;
    int digits;
};

// Digits past the 18th are below double precision: they only move the exponent.
static void decimal_digit(struct decimal *decimal, char c, bool fraction)
{
    decimal->digits++;
    if (decimal->mantissa < UINT64_C(100000000000000000)) {
        decimal->mantissa = decimal->mantissa * 10 + (uint64_t)(c - '0');
        decimal->exponent -= fraction;
    } else {
        decimal->exponent += !fraction;
    }
}

// "e-3" at `at`; false when it is there but malformed. Exponents past +-9999 stay there.
static bool parse_exponent(const char *at, const char *end, int *ret_exponent)
{
    *ret_exponent = 0;
    if (at == end)
        return true;
    if (*at != 'e' && *at != 'E')
        return false;
    at++;
    bool negative = at < end && *at == '-';
    at += at < end && (*at == '-' || *at == '+');
    if (at == end)
        return false;
    int value = 0;
    for (; at < end; at++) {
        if (!is_digit(*at))
            return false;
        value = value < 9999 ? value * 10 + (*at - '0') : value;
    }
    *ret_exponent = negative ? -value : value;
    return true;
}

// Scales in steps whose powers of ten a double holds exactly.
static double scale_by_ten(double value, int exponent)
{
    static const struct {
        int exponent;
        double power;
    } steps[] = {{16, 1e16}, {8, 1e8}, {4, 1e4}, {2, 1e2}, {1, 1e1}};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        for (; exponent >= steps[i].exponent && value > 0 && value < DBL_MAX;
             exponent -= steps[i].exponent)
            value *= steps[i].power;
        for (; exponent <= -steps[i].exponent && value > 0; exponent += steps[i].exponent)
            value /= steps[i].power;
    }
    return value;
}

bool fj_parse_float(const char *text, size_t len, float *ret_value)
{
    const char *at = text, *end = text + len;
    struct decimal decimal = {0};
    bool negative = at < end && *at == '-';
    at += negative;
    for (; at < end && is_digit(*at); at++)
        decimal_digit(&decimal, *at, false);
    if (at < end && *at == '.') {
        for (at++; at < end && is_digit(*at); at++)
            decimal_digit(&decimal, *at, true);
    }
    int exponent;
    if (decimal.digits == 0 || !parse_exponent(at, end, &exponent))
        return false;
    float value = (float)scale_by_ten((double)decimal.mantissa, decimal.exponent + exponent);
    if (!isfinite(value))
        return false;
    *ret_value = negative ? -value : value;
    return true;
}

// snprintf writes the locale's decimal separator, which may be several bytes: whatever is not part
// of a C-locale number becomes one point.
static void restore_point(char *text)
{
    char *to = text;
    bool point = false;
    for (const char *from = text; *from; from++) {
        if (strchr("0123456789+-e", *from)) {
            *to++ = *from;
        } else if (!point) {
            *to++ = '.';
            point = true;
        }
    }
    *to = '\0';
}

const char *fj_format_float(float value, char ret_text[FJ_FLOAT_TEXT_MAX])
{
    for (int digits = 1; digits <= FLT_DECIMAL_DIG; digits++) {
        float back;
        snprintf(ret_text, FJ_FLOAT_TEXT_MAX, "%.*g", digits, (double)value);
        restore_point(ret_text);
        if (fj_parse_float(ret_text, strlen(ret_text), &back) && back == value)
            break;
    }
    return ret_text;
}

const char *fj_quote(const char *word, size_t len, char ret_text[FJ_QUOTE_MAX])
{
    const size_t room = FJ_QUOTE_MAX - 6; // two quotes, "...", NUL
    size_t shown = len < room ? len : room;
    char *to = ret_text;
    *to++ = '"';
    for (size_t i = 0; i < shown; i++)
        *to++ = word[i] >= ' ' && word[i] <= '~' ? word[i] : '?';
    if (shown < len) {
        memcpy(to, "...", 3);
        to += 3;
    }
    memcpy(to, "\"", 2);
    return ret_text;
}

#define COMPARED_MAX 24 // longer spellings than any word we know

// Optimal string alignment: Levenshtein's rows plus swaps of neighbours.
static int edit_distance(const char *a, size_t na, const char *b, size_t nb)
{
    int rows[3][COMPARED_MAX + 1];
    int *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= nb; j++)
        above[j] = (int)j;
    for (size_t i = 1; i <= na; i++) {
        row[0] = (int)i;
        for (size_t j = 1; j <= nb; j++) {
            int best = above[j - 1] + (a[i - 1] != b[j - 1]);
            best = above[j] + 1 < best ? above[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        int *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[nb];
}

struct fj_nearest fj_nearest_begin(const char *word, size_t len)
{
    return (struct fj_nearest){
        .word = word, .len = len < COMPARED_MAX ? len : COMPARED_MAX, .distance = COMPARED_MAX * 2};
}

void fj_nearest_try(struct fj_nearest *nearest, const char *spelling)
{
    size_t len = strlen(spelling);
    if (len > COMPARED_MAX)
        len = COMPARED_MAX;
    int distance = edit_distance(nearest->word, nearest->len, spelling, len);
    if (!nearest->best || distance < nearest->distance) {
        nearest->best = spelling;
        nearest->distance = distance;
    }
}
