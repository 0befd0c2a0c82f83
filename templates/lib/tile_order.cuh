// The order in which tiles of query rows are worked on.
struct TilePlace {
    int block; // of block_m query rows
    int head;  // counted over batch * heads
};

// Heads are walked in sections whose K and V fit in L2 together; within a section all heads do
// their first block, then all do their second, and so on.
__device__ __forceinline__ TilePlace place_tile(int tile, int tiles, int tiles_m, int section)
{
    const int first = tile / (section * tiles_m) * (section * tiles_m); // tile of the section
    const int heads = min(section, (tiles - first) / tiles_m);          // the last may be smaller
    TilePlace place;
    //@if causal == none
    place.block = (tile - first) / heads;
    //@else
    // The last rows see the most keys: they start first, so that no long tile ends alone.
    place.block = tiles_m - 1 - (tile - first) / heads;
    //@end
    place.head = first / tiles_m + (tile - first) % heads;
    return place;
}
