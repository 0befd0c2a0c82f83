// A or B, as the launch gives it.
struct Matrix {
    const element *data;
    int64 batch; // strides in elements
    int64 row;
};

// What a launch may change.
struct Shape {
    int m;
    int n;
    int k;
    int tiles_m;
    int tiles_n;
    int tiles; // batch * tiles_m * tiles_n
};
