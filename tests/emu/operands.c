// Operands by format: first the edges of the format, then random values, half of them of ordinary
// size. Letters: f f32, d f64, h f16, b bf16, w 32-bit word, q 64-bit word, s 16-bit word,
// H f16x2, B bf16x2, y byte; i lane number, n small shift or index;
// of matrix operands: I J K L small integers in f16x2, bf16x2, fp32, e4m3x4;
// M N O ordinary values in f16x2, bf16x2, fp32; E f16x2 with edges.
#include "record.h"

#include "base/num.h"

#include <string.h>

static const uint64_t edges_f32[] = {
    0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007fffff, 0x00800000, 0x3f800000, 0xbf800000,
    0x3f800001, 0x3f7fffff, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000,
    0x7f800001, 0x7fffffff, 0x40490fdb, 0x3f000000, 0xbf000000, 0x3fc00000, 0x40200000, 0x4b000000,
    0x4b000001, 0x4b800001, 0x4effffff, 0x4f000000, 0xcf000000, 0xcf000001, 0x4f800000, 0x5f000000,
    0xdf000000, 0x5f800000, 0x33000000, 0x33000001, 0x33800000, 0x33c00000, 0x38800000, 0x387fe000,
    0x387fd000, 0x477fe000, 0x477fefff, 0x477ff000, 0x3f801000, 0x3f803000, 0x3f801001, 0x3f808000,
    0x3f818000, 0x3f808001, 0x7f7f8000, 0x7f7f7fff, 0x43e00000, 0x43e80000, 0x43e7ffff, 0x3c800000,
    0x3b000000, 0x3a800000, 0x3a800001, 0x47600000, 0x47700000, 0x42fe0000, 0xc2fc0000, 0xc3150000,
};
static const uint64_t edges_f16[] = {
    0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x0400, 0x3c00, 0xbc00, 0x3c01, 0x3bff, 0x7bff,
    0xfbff, 0x7c00, 0xfc00, 0x7e00, 0xfe00, 0x7c01, 0x7fff, 0x3800, 0x6400, 0x6401, 0x0200,
};
static const uint64_t edges_bf16[] = {
    0x0000, 0x8000, 0x0001, 0x8001, 0x007f, 0x0080, 0x3f80, 0xbf80, 0x3f81, 0x3f7f, 0x7f7f,
    0xff7f, 0x7f80, 0xff80, 0x7fc0, 0xffc0, 0x7f81, 0x7fff, 0x3f00, 0x4b00, 0x4b01, 0x0040,
};
static const uint64_t edges_f64[] = {
    0x0000000000000000, 0x8000000000000000, 0x0000000000000001, 0x000fffffffffffff,
    0x0010000000000000, 0x3ff0000000000000, 0xbff0000000000000, 0x3ff0000000000001,
    0x7fefffffffffffff, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000,
    0x47efffffe0000000, 0x47effffff0000000, 0x3690000000000000, 0x3680000000000000,
    0x41dfffffffc00000, 0xc1e0000000000000, 0x43e0000000000000, 0x3fe0000000000000,
};
static const uint64_t edges_word[] = {0,          1,          2,          31,         32,
                                      33,         0x7f,       0x80,       0xff,       0x7fff,
                                      0x8000,     0xffff,     0x10000,    0x7fffffff, 0x80000000,
                                      0x80000001, 0xfffffffe, 0xffffffff, 0x12345678, 0x00ff00ff};
static const uint64_t edges_wide[] = {0,
                                      1,
                                      63,
                                      64,
                                      0x7fffffff,
                                      0x80000000,
                                      0xffffffff,
                                      0x100000000,
                                      0x7fffffffffffffff,
                                      0x8000000000000000,
                                      0x8000000000000001,
                                      0xfffffffffffffffe,
                                      0xffffffffffffffff};

#define EDGES(letter, table, bytes, sign)                                                          \
    {                                                                                              \
        letter, table, sizeof(table) / sizeof(table[0]), bytes, sign                               \
    }
#define PLAIN(letter, bytes, sign)                                                                 \
    {                                                                                              \
        letter, NULL, 0, bytes, sign                                                               \
    }

static const struct format {
    char letter;
    const uint64_t *edges;
    size_t n_edges;
    int bytes;
    uint64_t signs;
} formats[] = {
    EDGES('f', edges_f32, 4, 0x80000000),
    EDGES('d', edges_f64, 8, 0x8000000000000000),
    EDGES('h', edges_f16, 2, 0x8000),
    EDGES('b', edges_bf16, 2, 0x8000),
    EDGES('w', edges_word, 4, 0),
    EDGES('q', edges_wide, 8, 0),
    EDGES('s', edges_word, 2, 0),
    EDGES('H', edges_f16, 4, 0x80008000),
    EDGES('B', edges_bf16, 4, 0x80008000),
    EDGES('E', edges_f16, 4, 0x80008000),
    PLAIN('y', 4, 0),
    PLAIN('i', 4, 0),
    PLAIN('n', 4, 0),
    PLAIN('I', 4, 0x80008000),
    PLAIN('J', 4, 0x80008000),
    PLAIN('K', 4, 0x80000000),
    PLAIN('L', 4, 0x80808080),
    PLAIN('M', 4, 0x80008000),
    PLAIN('N', 4, 0x80008000),
    PLAIN('O', 4, 0x80000000),
};

static const struct format *find(char letter)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (formats[i].letter == letter)
            return &formats[i];
    return &formats[4];
}

int letter_bytes(char letter)
{
    return find(letter)->bytes;
}

uint64_t letter_sign_mask(char letter)
{
    return ~find(letter)->signs;
}

uint64_t digest_of(const void *bytes, size_t len, uint64_t start)
{
    const unsigned char *at = bytes;
    uint64_t hash = start ? start : 0xcbf29ce484222325; // FNV-1a
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ at[i]) * 0x100000001b3;
    return hash;
}

uint32_t hash_step(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    uint64_t mixed = (*seed ^ *seed >> 29) * 0xbf58476d1ce4e5b9;
    return (uint32_t)(mixed >> 32);
}

static uint32_t float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

// A value of ordinary size: |x| in 2^-3 .. 2^4.
static float ordinary(uint64_t *seed)
{
    uint32_t bits = hash_step(seed);
    uint32_t exponent = 124 + (bits >> 23 & 7) % 7;
    uint32_t word = (bits & 0x807fffff) | exponent << 23;
    float value;
    memcpy(&value, &word, sizeof(value));
    return value;
}

static uint32_t pack(uint32_t low, uint32_t high)
{
    return low | high << 16;
}

static uint64_t small_int(char letter, uint64_t *seed)
{
    static const uint8_t e4m3[] = {0x00, 0x38, 0x40, 0x44, 0x48}; // 0..4
    int value[4];
    uint32_t bytes = 0;
    for (int i = 0; i < 4; i++) {
        value[i] = (int)(hash_step(seed) % 9) - 4;
        int magnitude = value[i] < 0 ? -value[i] : value[i];
        bytes |= (uint32_t)(e4m3[magnitude] | (value[i] < 0 ? 0x80 : 0)) << 8 * i;
    }
    switch (letter) {
    case 'I':
        return pack(fj_f32_to_f16((float)value[0]), fj_f32_to_f16((float)value[1]));
    case 'J':
        return pack(fj_f32_to_bf16((float)value[0]), fj_f32_to_bf16((float)value[1]));
    case 'K':
        return float_bits((float)value[0]);
    default:
        return bytes;
    }
}

static uint64_t usual(char letter, uint64_t *seed)
{
    float a = ordinary(seed), b = ordinary(seed);
    double wide = a;
    uint64_t bits;
    switch (letter) {
    case 'f':
    case 'O':
        return float_bits(a);
    case 'h':
        return fj_f32_to_f16(a);
    case 'b':
        return fj_f32_to_bf16(a);
    case 'd':
        memcpy(&bits, &wide, sizeof(bits));
        return bits ^ (hash_step(seed) & 0x1fffffff);
    case 'H':
    case 'E':
    case 'M':
        return pack(fj_f32_to_f16(a), fj_f32_to_f16(b));
    case 'B':
    case 'N':
        return pack(fj_f32_to_bf16(a), fj_f32_to_bf16(b));
    default:
        return (uint64_t)hash_step(seed) << 32 | hash_step(seed);
    }
}

static uint64_t one(const struct format *format, int which, int i, uint64_t *seed)
{
    char letter = format->letter;
    uint64_t random = (uint64_t)hash_step(seed) << 32 | hash_step(seed);
    bool packed = letter == 'H' || letter == 'B' || letter == 'E';
    if (letter == 'i')
        return (uint64_t)i % 32;
    if (letter == 'n')
        return random % 40;
    if (letter == 'y')
        return random & 0xff;
    if (letter >= 'I' && letter <= 'L')
        return small_int(letter, seed);
    if (letter >= 'M' && letter <= 'O')
        return usual(letter, seed);
    bool edge = letter == 'E' ? i % 16 == 0 : i < 128;
    if (edge && format->n_edges) {
        // The first operand walks through the edges, the others meet it at random.
        size_t at = which == 0 ? (size_t)i : (size_t)(random >> 8);
        uint64_t value = format->edges[at % format->n_edges];
        uint64_t other = format->edges[(random >> 40) % format->n_edges];
        return packed ? pack((uint32_t)value, (uint32_t)other) : value;
    }
    return i % 2 ? usual(letter, seed) : random;
}

void fill_operands(char letter, const char *name, int which, int count, uint64_t *ret)
{
    const struct format *format = find(letter);
    uint64_t seed = digest_of(name, strlen(name), 0) + (uint64_t)which * 0x9e3779b97f4a7c15;
    uint64_t mask = format->bytes == 8 ? ~(uint64_t)0 : ((uint64_t)1 << 8 * format->bytes) - 1;
    for (int i = 0; i < count; i++)
        ret[i] = one(format, which, i, &seed) & mask;
}
