// What a rendering leaves out of its included files: declarations that nothing names.
#include "template_fixture.h"

// Renders `text` including `library`, and compares what stays of the library.
static void check_kept(const char *library, const char *text, const char *want)
{
    char whole[4096], expected[4096];
    snprintf(whole, sizeof(whole), "//@prelude\n//@include lib/a.cuh\n\n%s", text);
    snprintf(expected, sizeof(expected), "%s%s%s", want, *want ? "\n" : "", text);
    put("lib/a.cuh", library);
    reset();
    check_text(whole, expected);
}

static const char functions[] = "__device__ float twice(float x)\n{\n    return x + x;\n}\n"
                                "\n"
                                "// Four times.\n"
                                "template <int k>\n"
                                "__device__ __forceinline__ float fourfold(float x,\n"
                                "                                          float y)\n"
                                "{\n"
                                "#pragma unroll\n"
                                "    for (int i = 0; i < 2; ++i)\n"
                                "        x = twice(x);\n"
                                "    return x;\n"
                                "}\n"
                                "\n"
                                "__device__ float twice(double x)\n{\n    return x + x;\n}\n"
                                "\n"
                                "__device__ float alone()\n{\n    return alone();\n}\n";

static void test_functions(void **state)
{
    (void)state;
    check_kept(functions, "int a = 1;\n", "");
    check_kept(functions, "int a = b(fourfold); // alone\n",
               "__device__ float twice(float x)\n{\n    return x + x;\n}\n"
               "\n"
               "// Four times.\n"
               "template <int k>\n"
               "__device__ __forceinline__ float fourfold(float x,\n"
               "                                          float y)\n"
               "{\n"
               "#pragma unroll\n"
               "    for (int i = 0; i < 2; ++i)\n"
               "        x = twice(x);\n"
               "    return x;\n"
               "}\n"
               "\n"
               "__device__ float twice(double x)\n{\n    return x + x;\n}\n");
    check_kept(functions, "const char *a = \"fourfold twice\"; // alone()\n", "");
    check_kept(functions, "/* twice() */ int a = alone();\n",
               "__device__ float alone()\n{\n    return alone();\n}\n");
}

static void test_others(void **state)
{
    (void)state;
    static const char library[] = "using uint = unsigned;\n"
                                  "using byte = unsigned char;\n"
                                  "\n"
                                  "#define LARGE 1000\n"
                                  "#define LARGER(x) \\\n"
                                  "    (LARGE + (x))\n"
                                  "\n"
                                  "constexpr int kA = 1; // of B\n"
                                  "constexpr int kB =\n"
                                  "    kA + 1;\n"
                                  "constexpr int kC[] = {1, 2};\n"
                                  "\n"
                                  "struct alignas(16) Pair {\n"
                                  "    uint a;\n"
                                  "\n"
                                  "    __device__ uint get() const\n"
                                  "    {\n"
                                  "        return a;\n"
                                  "    }\n"
                                  "};\n"
                                  "template <int k> struct Ring {\n"
                                  "    byte b;\n"
                                  "};\n";
    check_kept(library, "float x;\n", "");
    check_kept(library, "int x = LARGE;\n", "#define LARGE 1000\n");
    check_kept(library, "int x = LARGER(kB);\n",
               "#define LARGE 1000\n#define LARGER(x) \\\n    (LARGE + (x))\n\n"
               "constexpr int kA = 1; // of B\nconstexpr int kB =\n    kA + 1;\n");
    check_kept(library, "int x = kC[0];\n", "constexpr int kC[] = {1, 2};\n");
    check_kept(library, "Pair x;\n",
               "using uint = unsigned;\n\nstruct alignas(16) Pair {\n    uint a;\n\n"
               "    __device__ uint get() const\n    {\n        return a;\n    }\n};\n");
    check_kept(library, "Ring<2> x;\n",
               "using byte = unsigned char;\n\ntemplate <int k> struct Ring {\n    byte b;\n};\n");
}

static void test_comments(void **state)
{
    (void)state;
    static const char library[] = "// About the file.\n"
                                  "\n"
                                  "// Numbers of\n"
                                  "// two kinds.\n"
                                  "constexpr int kA = 1; // the first,\n"
                                  "                      // as it were\n"
                                  "constexpr int kB = 2;\n"
                                  "// Another.\n"
                                  "constexpr int kC = 3;\n";
    check_kept(library, "int x;\n", "");
    check_kept(library, "int x = kB;\n",
               "// About the file.\n\n// Numbers of\n// two kinds.\nconstexpr int kB = 2;\n");
    check_kept(library, "int x = kA;\n",
               "// About the file.\n\n// Numbers of\n// two kinds.\n"
               "constexpr int kA = 1; // the first,\n                      // as it were\n");
    check_kept(library, "int x = kC;\n",
               "// About the file.\n\n// Another.\nconstexpr int kC = 3;\n");
}

// Whatever somebody outside may look for by its name, or what has no name, stays.
static void test_stays(void **state)
{
    (void)state;
    static const char *const libraries[] = {
        "extern \"C\" __device__ int twice(int x)\n{\n    return 2 * x;\n}\n",
        "__device__ int count = 1;\n",
        "__constant__ float table[4] = {1, 2, 3, 4};\n",
        "__device__ Pair operator+(Pair a, Pair b)\n{\n    return a;\n}\n",
        "static_assert(sizeof(int) == 4, \"an int\");\n",
        "__global__ void other()\n{\n}\n",
        "struct Pair {\n    int a;\n} pair;\n",
        "namespace a {\nint b;\n}\n",
        "using namespace a;\n",
        "enum Colour : int {\n    red,\n};\n",
        "__device__ __attribute__((noinline)) int f()\n{\n    return 1;\n}\n",
        "template <int k>\nextern __device__ int f();\n",
    };
    for (size_t i = 0; i < COUNT(libraries); i++) {
        print_message("%s", libraries[i]);
        check_kept(libraries[i], "int x;\n", libraries[i]);
    }
}

// Where tokens do not say what is named, or layout not what ends where, nothing goes.
static void test_opaque(void **state)
{
    (void)state;
    static const char unused[] = "constexpr int kA = 1;\n";
    static const char *const others[] = {
        "#ifdef X\nint a;\n#endif\n",
        "#define JOIN(a, b) a##b\n",
        "__device__ int f()\n  { return 1;\n}\n}\n",
        "__device__ int f() {\nif (1) {\n}\nreturn 2; }\n",
        "__device__ int f()\n{\n    return g(\n",
        "__device__ const char *f()\n{\n    return R\"x(\")x\";\n}\n",
    };
    for (size_t i = 0; i < COUNT(others); i++) {
        char library[512];
        snprintf(library, sizeof(library), "%s%s", unused, others[i]);
        print_message("%s", others[i]);
        check_kept(library, "int x;\n", library);
    }
}

static void test_holes(void **state)
{
    (void)state;
    static const char text[] = "//@switch n int a number\n"
                               "//@switch kind f16|bf16 a word\n"
                               "//@prelude\n"
                               "//@include lib/a.cuh\n"
                               "%s\n";
    static const char library[] = "constexpr int kA2 = 1;\nconstexpr int bf16 = 1;\n";
    static const struct {
        const char *line, *rendered;
        bool kept;
    } cases[] = {
        {"int x = $n;", "int x = 2;", false},
        {"int x = kA$n;", "int x = kA2;", true},
        {"int x = $kind;", "int x = bf16;", true},
        {"const char *x = \"kA${n}\";", "const char *x = \"kA2\";", false},
    };
    put("lib/a.cuh", library);
    for (size_t i = 0; i < COUNT(cases); i++) {
        char whole[512], want[512];
        snprintf(whole, sizeof(whole), text, cases[i].line);
        snprintf(want, sizeof(want), "%s%s\n",
                 cases[i].kept ? "constexpr int kA2 = 1;\n"
                                 "constexpr int bf16 = 1;\n\n"
                               : "",
                 cases[i].rendered);
        reset();
        fj_params_int(&params, "n", 2);
        fj_params_word(&params, "kind", "bf16");
        check_text(whole, want);
    }
}

static void test_own_text_stays(void **state)
{
    (void)state;
    reset();
    check_text("//@prelude\nconstexpr int kA = 1;\n\n__device__ int f()\n{\n    return 1;\n}\n",
               "constexpr int kA = 1;\n\n__device__ int f()\n{\n    return 1;\n}\n");
}

// A constant that only a dropped function named is no more used than the function.
static void test_constants(void **state)
{
    (void)state;
    reset();
    fj_params_int(&params, "a", 1);
    fj_params_int(&params, "b", 2);
    put("lib/a.cuh", "__device__ int f()\n{\n    return kA;\n}\n");
    check_text("//@const a first\n//@const b second\n//@prelude\n//@include lib/a.cuh\n"
               "int x = kB;\n",
               "constexpr int kB = 2; // second\n\nint x = kB;\n");
}

// A watched rendering has the lines of the plain one, and those of the watches.
static void test_watches(void **state)
{
    (void)state;
    static const char text[] = "//@prelude\n//@include lib/a.cuh\n"
                               "void f()\n{\n    //@watch S=shown(1) [1, 1] u32 regs=1\n}\n";
    put("lib/a.cuh", "__device__ int *shown(int)\n{\n    return 0;\n}\n\nconstexpr int kA = 1;\n");
    reset();
    check_text(text, "__device__ int *shown(int)\n{\n    return 0;\n}\n\nvoid f()\n{\n}\n");
    watches = true;
    check_text(text, "__device__ int *shown(int)\n{\n    return 0;\n}\n\nvoid f()\n{\n"
                     "    asm volatile(\"// fj_watch S 1 1 u32 1 %0\" ::\"r\"(shown(1)[0]));\n}\n");
}

static void test_line_map(void **state)
{
    (void)state;
    struct fj_rendering rendering = {0};
    static const int want[] = {3, 6, 6, 3, 3}; // a blank line is that of the line below
    reset();
    put("lib/a.cuh", "constexpr int kA = 1;\n\nconstexpr int kB = 1;\n\n\nconstexpr int kC = 1;\n");
    put("t.cu", "//@prelude\n//@include lib/a.cuh\nint x = kB + kC;\n");
    assert_int_equal(render_into("t.cu", &rendering), FAJIT_OK);
    assert_int_equal(rendering.line_count, COUNT(want));
    for (size_t i = 0; i < COUNT(want); i++)
        assert_int_equal(rendering.lines[i].line, want[i]);
    assert_string_equal(rendering.lines[2].file, "lib/a.cuh");
    assert_string_equal(rendering.lines[4].file, "t.cu");
    fj_rendering_free(&rendering);
}

static void test_no_names(void **state)
{
    (void)state;
    reset();
    check_text("//@prelude\n// 1 + 1\n", "// 1 + 1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_functions), cmocka_unit_test(test_others),
        cmocka_unit_test(test_comments),  cmocka_unit_test(test_stays),
        cmocka_unit_test(test_opaque),    cmocka_unit_test(test_holes),
        cmocka_unit_test(test_constants), cmocka_unit_test(test_own_text_stays),
        cmocka_unit_test(test_watches),   cmocka_unit_test(test_line_map),
        cmocka_unit_test(test_no_names),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
