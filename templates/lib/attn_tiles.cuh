//@if pack_group > 1
// The tiles of an attention launch. A row of a tile is a query of one of the pack_group heads that
// read the same K and V: all of them for one query, then for the next. Needs lib/attention.cuh,
// lib/tile_order.cuh.
//@else
// The tiles of an attention launch. Needs lib/attention.cuh, lib/tile_order.cuh.
//@end
//@if cluster > 1
//
// The CTAs of a cluster work on tiles below each other, of the same head: they read the same keys.
// Only the work of a whole cluster is handed out, so a number stands for `cluster` tiles.
//@end

// What a launch may change.
struct Shape {
    //@if tiles == dynamic
    int *next_tile; // 0 at the launch: tiles taken after the first one of each CTA
    //@end
    //@if seqlens_q
    const int *seqlens_q; // [batch]
    //@end
    //@if seqlens_k
    const int *seqlens_k; // [batch]
    //@end
    int seq_q;
    int seq_k;
    //@if pack_group > 1
    int heads; // query heads / pack_group
    //@else
    int heads; // query heads
    //@end
    int group;   // of these, how many read one KV head
    int section; // of batch * heads, how many are walked together: their K and V stay in L2
    //@if cluster > 1
    int tiles_m; // shares of a cluster, in one head
    //@else
    int tiles_m; // tiles of one head
    //@end
    int tiles;   // batch * heads * tiles_m
    float scale; // positive
};

struct Tile {
    //@if tiles == one
    int batch;
    //@else
    int batch; // -1: no tile
    //@end
    //@if pack_group > 1
    int head; // in units of pack_group query heads
    //@else
    int head;
    //@end
    int row0;
    int len_q;
    int len_k;

    // Keys that a row sees.
    __device__ __forceinline__ int keys(int row) const
    {
        //@if pack_group > 1
        return visible_keys(row / kPackGroup, len_q, len_k);
        //@else
        return visible_keys(row, len_q, len_k);
        //@end
    }

    // Blocks of keys that the rows up to `row` see. At least one, so that every tile has a first
    // block: when nothing is seen, that one is masked away.
    __device__ __forceinline__ int blocks(int row) const
    {
        //@if pack_group > 1
        const int last = len_q * kPackGroup - 1;
        //@else
        const int last = len_q - 1;
        //@end
        return max(1, (keys(min(row, last)) + kBlockN - 1) / kBlockN);
    }

    // Blocks that are fetched: those that any row sees.
    __device__ __forceinline__ int blocks() const
    {
        //@if cluster > 1
        constexpr int kRows = kCluster * kBlockM;
        return blocks((row0 / kRows + 1) * kRows - 1); // in any CTA of the cluster
        //@else
        return blocks(row0 + kBlockM - 1);
        //@end
    }
};

__device__ __forceinline__ Tile find_tile(const Shape &shape, int n)
{
    //@if tiles != one
    if (n >= shape.tiles)
        return Tile{-1};
    //@end
    const TilePlace place = place_tile(n, shape.tiles, shape.tiles_m, shape.section);
    Tile tile;
    tile.batch = place.head / shape.heads;
    tile.head = place.head % shape.heads;
    //@if cluster > 1
    tile.row0 = (place.block * kCluster + cluster_rank()) * kBlockM;
    //@else
    tile.row0 = place.block * kBlockM;
    //@end
    //@if seqlens_q
    tile.len_q = clamp_length(shape.seqlens_q[tile.batch], shape.seq_q);
    //@else
    tile.len_q = shape.seq_q;
    //@end
    //@if seqlens_k
    tile.len_k = clamp_length(shape.seqlens_k[tile.batch], shape.seq_k);
    //@else
    tile.len_k = shape.seq_k;
    //@end
    return tile;
}

// The first tile of this CTA, and how many are begun at the same time.
__device__ __forceinline__ int first_tile()
{
    //@if cluster > 1
    return blockIdx.x / kCluster;
    //@else
    return blockIdx.x;
    //@end
}
//@if tiles != one

__device__ __forceinline__ int tiles_at_once()
{
    //@if cluster > 1
    return gridDim.x / kCluster;
    //@else
    return gridDim.x;
    //@end
}
//@end
//@if tiles == static

// The tile that this CTA works on in the given round. Odd rounds run backwards, so that a CTA that
// got a longer tile gets a shorter one next.
__device__ __forceinline__ int tile_of_round(int round)
{
    const int place = round % 2 == 0 ? first_tile() : tiles_at_once() - 1 - first_tile();
    return round * tiles_at_once() + place;
}
//@end
