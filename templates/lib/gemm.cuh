// The order in which the tiles of C are worked on.
struct Tile {
    int batch;
    int row0;
    int column0;
};

// Tiles are counted down through kGroup rows of tiles, then to the right: what runs at the same
// time forms a block of C that is about as high as wide, and reads few rows of A and columns of B,
// which stay in L2. `row0` and `column0` come in tiles.
__device__ __forceinline__ Tile place_tile(int n, int tiles_m, int tiles_n)
{
    Tile tile;
    tile.batch = n / (tiles_m * tiles_n);
    n -= tile.batch * (tiles_m * tiles_n);
    const int first = n / (kGroup * tiles_n) * kGroup; // row of the group
    const int height = min(kGroup, tiles_m - first);   // the last may be lower
    n -= first * tiles_n;
    tile.row0 = first + n % height;
    tile.column0 = n / height;
    return tile;
}
