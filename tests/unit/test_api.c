// The parts of the public interface that need no context: statuses, versioned structs, problems,
// tensors, conversions, references.
#include "test.h"

#include <fajit/fajit.h>
#include <math.h>
#include <pthread.h>

#include "ctx.h"

static void test_every_status_has_its_own_name(void **state)
{
    (void)state;
    for (int a = FAJIT_E_BUSY; a <= FAJIT_OK; a++) {
        assert_true(*fajit_strerror(a));
        assert_string_not_equal(fajit_strerror(a), "unknown status");
        for (int b = FAJIT_E_BUSY; b < a; b++)
            assert_string_not_equal(fajit_strerror(a), fajit_strerror(b));
    }
    const int strange[] = {1, 77, FAJIT_E_BUSY - 1, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < COUNT(strange); i++)
        assert_string_equal(fajit_strerror(strange[i]), "unknown status");
}

static void test_version(void **state)
{
    (void)state;
    int major, minor, patch, used = 0;
    assert_int_equal(sscanf(fajit_version(), "%d.%d.%d%n", &major, &minor, &patch, &used), 3);
    assert_int_equal(strlen(fajit_version()), used);
}

// --- Last error -------------------------------------------------------------------------------

static void *fail_here(void *user)
{
    const char **ret = user;
    struct fajit_problem problem;
    ret[0] = *fajit_last_error() ? "not empty before any failure" : "";
    fajit_problem_parse("attn:other", &problem);
    ret[1] = strstr(fajit_last_error(), "other") ? "" : "not this thread's";
    return NULL;
}

static void test_last_error_is_per_thread(void **state)
{
    (void)state;
    struct fajit_problem problem;
    const char *said[2];
    pthread_t thread;
    assert_int_equal(fajit_problem_parse("attn:mine", &problem), FAJIT_E_INVAL);
    assert_non_null(strstr(fajit_last_error(), "mine"));
    assert_int_equal(pthread_create(&thread, NULL, fail_here, said), 0);
    pthread_join(thread, NULL);
    assert_string_equal(said[0], "");
    assert_string_equal(said[1], "");
    assert_non_null(strstr(fajit_last_error(), "mine"));
    // A success leaves the sentence of the latest failure.
    assert_int_equal(fajit_problem_parse("attn:f32,d64", &problem), FAJIT_OK);
    assert_non_null(strstr(fajit_last_error(), "mine"));
}

// --- Versioned structs ------------------------------------------------------------------------

struct newer {
    size_t struct_size;
    int64_t known;
    int64_t unknown;
};
#define OLD_BYTES offsetof(struct newer, unknown)

static void test_take_struct(void **state)
{
    (void)state;
    struct newer from = {.struct_size = OLD_BYTES, .known = 7, .unknown = 9}, to;
    memset(&to, 0xee, sizeof(to));
    assert_int_equal(fj_take_struct("newer", &from, &to, sizeof(to)), FAJIT_OK);
    assert_int_equal(to.struct_size, sizeof(to));
    assert_int_equal(to.known, 7);
    assert_int_equal(to.unknown, 0); // beyond what an older caller has: its default

    from.struct_size = sizeof(from);
    struct newer untouched = {.known = -1};
    to = untouched;
    check_error(fj_take_struct("newer", &from, &to, OLD_BYTES), FAJIT_E_UNSUPPORTED, "newer fajit");
    assert_memory_equal(&to, &untouched, sizeof(to));
    from.unknown = 0; // a newer caller that uses nothing new
    assert_int_equal(fj_take_struct("newer", &from, &to, OLD_BYTES), FAJIT_OK);

    // Sizes nobody set; the large one must not be read.
    const size_t never_set[] = {0, 1, sizeof(size_t) - 1, 65537, (size_t)-1};
    for (size_t i = 0; i < COUNT(never_set); i++) {
        from.struct_size = never_set[i];
        check_error(fj_take_struct("newer", &from, &to, sizeof(to)), FAJIT_E_INVAL,
                    "set it to sizeof(struct newer)");
        to.struct_size = never_set[i];
        check_error(fj_give_struct("newer", &from, sizeof(from), &to), FAJIT_E_INVAL,
                    "set it to sizeof(struct newer)");
    }
}

static void test_give_struct(void **state)
{
    (void)state;
    const struct newer from = {.known = 7, .unknown = 9};
    struct newer to = {.struct_size = OLD_BYTES, .unknown = -1};
    assert_int_equal(fj_give_struct("newer", &from, sizeof(from), &to), FAJIT_OK);
    assert_int_equal(to.struct_size, OLD_BYTES);
    assert_int_equal(to.known, 7);
    assert_int_equal(to.unknown, -1); // not the older caller's memory
}

// --- Problems ---------------------------------------------------------------------------------

static void test_problem_text(void **state)
{
    (void)state;
    struct fajit_problem problem, before;
    memset(&problem, 0x5a, sizeof(problem));
    before = problem;
    check_error(fajit_problem_parse("attn:bf16,b2,cuasal,d64", &problem), FAJIT_E_INVAL,
                "\"cuasal\"");
    assert_non_null(strstr(fajit_last_error(), "column 14"));
    assert_non_null(strstr(fajit_last_error(), "\"causal\""));
    assert_memory_equal(&problem, &before, sizeof(problem));
    check_error(fajit_problem_parse("attn:bf16,d64,window=3:0", &problem), FAJIT_E_UNSUPPORTED,
                "not yet");
    assert_memory_equal(&problem, &before, sizeof(problem));
    check_error(fajit_problem_parse(NULL, &problem), FAJIT_E_INVAL, "NULL");
    check_error(fajit_problem_parse("attn:f32,d64", NULL), FAJIT_E_INVAL, "NULL");
    check_error(fajit_problem_parse("", &problem), FAJIT_E_INVAL, "");
    check_error(fajit_problem_parse("attn:f32,d60", &problem), FAJIT_E_INVAL, "steps of 8");
    check_error(fajit_problem_parse("attn:f32,d64,q99999999999999999999", &problem), FAJIT_E_INVAL,
                "column");
}

static void test_problem_format_cuts_like_snprintf(void **state)
{
    (void)state;
    struct fajit_problem problem;
    char text[64], cut[8];
    assert_int_equal(fajit_problem_parse("attn:d64,causal,b2,f16", &problem), FAJIT_OK);
    int length = fajit_problem_format(&problem, text, sizeof(text));
    assert_string_equal(text, "attn:f16,b2,d64,causal");
    assert_int_equal(length, strlen(text));
    assert_int_equal(fajit_problem_format(&problem, cut, sizeof(cut)), length);
    assert_string_equal(cut, "attn:f1");
    assert_int_equal(fajit_problem_format(&problem, NULL, 0), length);

    check_error(fajit_problem_format(NULL, text, sizeof(text)), FAJIT_E_INVAL, "NULL");
    check_error(fajit_problem_format(&problem, NULL, 1), FAJIT_E_INVAL, "NULL");
    problem.attn.head_dim = 7;
    strcpy(text, "untouched");
    check_error(fajit_problem_format(&problem, text, sizeof(text)), FAJIT_E_INVAL, "head_dim is 7");
    assert_string_equal(text, "untouched");
}

// --- Tensors ----------------------------------------------------------------------------------

static void test_compact_tensors(void **state)
{
    (void)state;
    char memory[4];
    struct fajit_tensor t = fajit_tensor_4d(memory, FAJIT_F16, 2, 3, 4, 5);
    const int64_t strides[] = {60, 20, 5, 1};
    assert_ptr_equal(t.data, memory);
    assert_int_equal(t.ndim, 4);
    assert_memory_equal(t.strides, strides, sizeof(strides));
    t = fajit_tensor_2d(memory, FAJIT_F32, 7, 9);
    assert_int_equal(t.ndim, 2);
    assert_int_equal(t.shape[0], 7);
    assert_int_equal(t.strides[0], 9);
    assert_int_equal(t.strides[1], 1);
}

// DLTensor of dlpack.h 1.x.
struct dl_tensor {
    void *data;
    int32_t device_type, device_id, ndim;
    uint8_t code, bits;
    uint16_t lanes;
    int64_t *shape, *strides;
    uint64_t byte_offset;
};

static void test_dlpack(void **state)
{
    (void)state;
    char memory[64];
    int64_t shape[] = {2, 3, 4}, strides[] = {100, 10, 2};
    struct dl_tensor from = {.data = memory, .ndim = 3, .code = 4, .bits = 16, .lanes = 1};
    from.shape = shape;
    from.byte_offset = 6;
    struct fajit_tensor t;
    assert_int_equal(fajit_tensor_from_dlpack(&from, &t), FAJIT_OK);
    assert_int_equal(t.dtype, FAJIT_BF16);
    assert_ptr_equal(t.data, memory + 6);
    assert_int_equal(t.strides[0], 12);
    assert_int_equal(t.strides[2], 1);
    from.strides = strides;
    from.code = 2;
    assert_int_equal(fajit_tensor_from_dlpack(&from, &t), FAJIT_OK);
    assert_int_equal(t.dtype, FAJIT_F16);
    assert_memory_equal(t.strides, strides, sizeof(strides));
    from.bits = 32;
    assert_int_equal(fajit_tensor_from_dlpack(&from, &t), FAJIT_OK);
    assert_int_equal(t.dtype, FAJIT_F32);

    const struct fajit_tensor before = t;
    from.bits = 64;
    check_error(fajit_tensor_from_dlpack(&from, &t), FAJIT_E_UNSUPPORTED, "64 bits");
    from.bits = 32;
    from.lanes = 4;
    check_error(fajit_tensor_from_dlpack(&from, &t), FAJIT_E_UNSUPPORTED, "4 lanes");
    from.lanes = 1;
    from.ndim = 5;
    check_error(fajit_tensor_from_dlpack(&from, &t), FAJIT_E_INVAL, "5 dimensions");
    from.ndim = 0;
    check_error(fajit_tensor_from_dlpack(&from, &t), FAJIT_E_INVAL, "0 dimensions");
    check_error(fajit_tensor_from_dlpack(NULL, &t), FAJIT_E_INVAL, "NULL");
    check_error(fajit_tensor_from_dlpack(&from, NULL), FAJIT_E_INVAL, "NULL");
    from.ndim = 3;
    from.shape = NULL;
    check_error(fajit_tensor_from_dlpack(&from, &t), FAJIT_E_INVAL, "shape is NULL");
    from.shape = shape;
    from.strides = NULL;
    shape[0] = shape[1] = shape[2] = INT64_C(1) << 40; // the product overflows
    check_error(fajit_tensor_from_dlpack(&from, &t), FAJIT_E_INVAL, "overflow");
    shape[0] = -1;
    shape[1] = shape[2] = 1;
    check_error(fajit_tensor_from_dlpack(&from, &t), FAJIT_E_INVAL, "-1");
    assert_memory_equal(&t, &before, sizeof(t));
}

// --- Conversions ------------------------------------------------------------------------------

static void test_conversions(void **state)
{
    (void)state;
    const float values[] = {0, -1.5f, 65504, 1.0f / 3, INFINITY, -INFINITY};
    const enum fajit_dtype dtypes[] = {FAJIT_F32, FAJIT_F16, FAJIT_BF16};
    const size_t bytes[] = {4, 2, 2};
    for (size_t d = 0; d < COUNT(dtypes); d++) {
        unsigned char encoded[sizeof(values)];
        float back[COUNT(values)];
        assert_int_equal(fajit_dtype_bytes(dtypes[d]), bytes[d]);
        assert_int_equal(fajit_convert_from_f32(dtypes[d], values, encoded, COUNT(values)), 0);
        assert_int_equal(fajit_convert_to_f32(dtypes[d], encoded, back, COUNT(values)), 0);
        for (size_t i = 0; i < COUNT(values); i++) {
            if (isfinite(values[i]))
                assert_true(fabsf(back[i] - values[i]) <= fabsf(values[i]) / 256);
            else
                assert_true(back[i] == values[i]);
        }
    }
    uint16_t half = 0x1234;
    assert_int_equal(fajit_dtype_bytes(FAJIT_DTYPE_NONE), 0);
    assert_int_equal(fajit_dtype_bytes((enum fajit_dtype)99), 0);
    check_error(fajit_convert_from_f32((enum fajit_dtype)99, values, &half, 1), FAJIT_E_INVAL,
                "dtype 99");
    check_error(fajit_convert_from_f32(FAJIT_F16, NULL, &half, 1), FAJIT_E_INVAL, "NULL");
    check_error(fajit_convert_to_f32(FAJIT_F16, &half, NULL, 1), FAJIT_E_INVAL, "NULL");
    assert_int_equal(half, 0x1234);
    assert_int_equal(fajit_convert_from_f32(FAJIT_F16, NULL, NULL, 0), FAJIT_OK);
}

// --- References -------------------------------------------------------------------------------

static struct fajit_attn_args attn_args(float *memory, int64_t seq_q, int64_t seq_k)
{
    return (struct fajit_attn_args){
        .struct_size = sizeof(struct fajit_attn_args),
        .q = fajit_tensor_4d(memory, FAJIT_F32, 1, seq_q, 1, 8),
        .k = fajit_tensor_4d(memory, FAJIT_F32, 1, seq_k, 1, 8),
        .v = fajit_tensor_4d(memory, FAJIT_F32, 1, seq_k, 1, 8),
    };
}

static void test_reference_attention(void **state)
{
    (void)state;
    struct fajit_problem problem;
    float memory[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9, 9, 9};
    double o[16], lse[2];
    assert_int_equal(fajit_problem_parse("attn:f32,d8,causal=tl", &problem), FAJIT_OK);
    struct fajit_attn_args args = attn_args(memory, 2, 2);
    assert_int_equal(fajit_reference_attention(&problem, &args, NULL, o, lse), FAJIT_OK);
    for (int i = 0; i < 8; i++) // the first query sees the first key only
        assert_true(o[i] == memory[i]);
    const int64_t rows[] = {1};
    struct fajit_reference_params params = {
        .struct_size = sizeof(params), .rows = rows, .n_rows = 1, .threads = 1};
    double one_row[8];
    assert_int_equal(fajit_reference_attention(&problem, &args, &params, one_row, NULL), FAJIT_OK);
    assert_memory_equal(one_row, o + 8, sizeof(one_row));

    // No key: zero and -inf.
    args = attn_args(memory, 2, 0);
    assert_int_equal(fajit_reference_attention(&problem, &args, NULL, o, lse), FAJIT_OK);
    for (int i = 0; i < 16; i++)
        assert_true(o[i] == 0);
    assert_true(lse[0] == -INFINITY && lse[1] == -INFINITY);
}

static void test_reference_refusals(void **state)
{
    (void)state;
    struct fajit_problem problem, gemm;
    float memory[16] = {0};
    double o[16] = {42};
    struct fajit_attn_args args = attn_args(memory, 2, 2);
    struct fajit_gemm_args gemm_args = {.struct_size = sizeof(gemm_args)};
    assert_int_equal(fajit_problem_parse("attn:f32,d8", &problem), FAJIT_OK);
    assert_int_equal(fajit_problem_parse("gemm:f32", &gemm), FAJIT_OK);
    check_error(fajit_reference_attention(NULL, &args, NULL, o, NULL), FAJIT_E_INVAL, "NULL");
    check_error(fajit_reference_attention(&problem, NULL, NULL, o, NULL), FAJIT_E_INVAL, "NULL");
    check_error(fajit_reference_attention(&gemm, &args, NULL, o, NULL), FAJIT_E_INVAL, "problem");
    check_error(fajit_reference_gemm(&problem, &gemm_args, NULL, o), FAJIT_E_INVAL, "problem");
    struct fajit_reference_params params = {.struct_size = 0};
    check_error(fajit_reference_attention(&problem, &args, &params, o, NULL), FAJIT_E_INVAL,
                "struct_size");
    params = (struct fajit_reference_params){.struct_size = sizeof(params), .round_to = 99};
    check_error(fajit_reference_attention(&problem, &args, &params, o, NULL), FAJIT_E_INVAL,
                "fp32, fp16 and bf16");
    const int64_t rows[] = {2};
    params =
        (struct fajit_reference_params){.struct_size = sizeof(params), .rows = rows, .n_rows = 1};
    check_error(fajit_reference_attention(&problem, &args, &params, o, NULL), FAJIT_E_INVAL, "row");
    args.k.data = NULL;
    check_error(fajit_reference_attention(&problem, &args, NULL, o, NULL), FAJIT_E_INVAL, "k");
    args = attn_args(memory, 2, 2);
    args.q.dtype = FAJIT_F16;
    check_error(fajit_reference_attention(&problem, &args, NULL, o, NULL), FAJIT_E_INVAL, "q");
    args.struct_size = 3;
    check_error(fajit_reference_attention(&problem, &args, NULL, o, NULL), FAJIT_E_INVAL,
                "struct_size");
    assert_true(o[0] == 42);
}

static void test_reference_gemm(void **state)
{
    (void)state;
    struct fajit_problem problem;
    float a[] = {1, 2, 3, 4}, b[] = {5, 6, 7, 8}, bias[] = {-100, 1};
    double c[4];
    assert_int_equal(fajit_problem_parse("gemm:f32,bias,act=relu", &problem), FAJIT_OK);
    struct fajit_gemm_args args = {
        .struct_size = sizeof(args),
        .a = fajit_tensor_2d(a, FAJIT_F32, 2, 2),
        .b = fajit_tensor_2d(b, FAJIT_F32, 2, 2),
        .bias = bias,
    };
    if (fajit_reference_gemm(&problem, &args, NULL, c))
        fail_msg("%s", fajit_last_error());
    const double want[] = {0, 23, 0, 51};
    assert_memory_equal(c, want, sizeof(c));
    args.bias = NULL;
    check_error(fajit_reference_gemm(&problem, &args, NULL, c), FAJIT_E_INVAL, "bias");
    args.bias = bias;
    check_error(fajit_reference_gemm(&problem, &args, NULL, NULL), FAJIT_E_INVAL, "ret_c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_status_has_its_own_name),
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_last_error_is_per_thread),
        cmocka_unit_test(test_take_struct),
        cmocka_unit_test(test_give_struct),
        cmocka_unit_test(test_problem_text),
        cmocka_unit_test(test_problem_format_cuts_like_snprintf),
        cmocka_unit_test(test_compact_tensors),
        cmocka_unit_test(test_dlpack),
        cmocka_unit_test(test_conversions),
        cmocka_unit_test(test_reference_attention),
        cmocka_unit_test(test_reference_refusals),
        cmocka_unit_test(test_reference_gemm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
