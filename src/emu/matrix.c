// ldmatrix and stmatrix: 8 x 8 matrices of 16-bit elements between rows in shared memory and the
// one-register tiles of mma.h.
#include "emu/mma.h"

#include <string.h>

static void transpose8(const uint16_t src[64], uint16_t ret[64])
{
    for (int row = 0; row < 8; row++)
        for (int col = 0; col < 8; col++)
            ret[8 * col + row] = src[8 * row + col];
}

void fj_emu_ldmatrix(int count, bool trans, const uint8_t *const rows[32], uint32_t *const d[])
{
    uint16_t tile[4][64], turned[64];
    // All rows are read before a register is written: an address register may be a destination.
    for (int i = 0; i < 8 * count; i++)
        memcpy(&tile[i / 8][i % 8 * 8], rows[i], 16);
    for (int i = 0; i < count; i++) {
        if (trans)
            transpose8(tile[i], turned);
        memcpy(d[i], trans ? turned : tile[i], sizeof(turned));
    }
}

void fj_emu_stmatrix(int count, bool trans, uint8_t *const rows[32], const uint32_t *const s[])
{
    for (int i = 0; i < count; i++) {
        uint16_t tile[64], turned[64];
        memcpy(tile, s[i], sizeof(tile));
        if (trans)
            transpose8(tile, turned);
        for (int row = 0; row < 8; row++)
            memcpy(rows[8 * i + row], (trans ? turned : tile) + 8 * row, 16);
    }
}
