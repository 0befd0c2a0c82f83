// Where the results of one head go.
struct Output {
    element *o; // [seq_q, head_dim_v]
    int64 o_stride;
    //@if lse
    float *lse; // [seq_q]
    int64 lse_stride;
    //@end
};
