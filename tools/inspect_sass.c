// fajit-inspect sass: the machine code, through NVIDIA's disassembler.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "inspect.h"

#define TOOL "nvdisasm"

static bool try_dir(const char *dir, int length, char *path, size_t size)
{
    int written = snprintf(path, size, "%.*s/" TOOL, length, dir);
    return written > 0 && (size_t)written < size && access(path, X_OK) == 0;
}

static bool find_tool(char *path, size_t size)
{
    static const char *const roots[] = {"CUDA_HOME", "CUDA_PATH"};
    const char *list = getenv("PATH");
    for (const char *at = list ? list : ""; *at;) {
        int length = (int)strcspn(at, ":");
        if (length && try_dir(at, length, path, size))
            return true;
        at += length + (at[length] == ':');
    }
    for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
        char dir[4096];
        const char *root = getenv(roots[i]);
        int length = root ? snprintf(dir, sizeof(dir), "%s/bin", root) : -1;
        if (length > 0 && (size_t)length < sizeof(dir) && try_dir(dir, length, path, size))
            return true;
    }
    return try_dir("/usr/local/cuda/bin", 19, path, size);
}

// The cubin as a file; nvdisasm reads no pipe.
static bool write_cubin(const void *image, size_t bytes, char path[])
{
    int fd = mkstemp(path);
    if (fd < 0) {
        fprintf(stderr, "%s: a file for the cubin: %s\n", tool_name, strerror(errno));
        return false;
    }
    FILE *file = fdopen(fd, "wb");
    bool written = file && fwrite(image, 1, bytes, file) == bytes;
    if (file)
        written = fclose(file) == 0 && written;
    else
        close(fd);
    if (!written)
        fprintf(stderr, "%s: %s cannot be written\n", tool_name, path);
    return written;
}

static int run_tool(const char *tool, const char *cubin)
{
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        execl(tool, tool, "-c", cubin, (char *)NULL);
        _exit(127);
    }
    if (child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
        WEXITSTATUS(status) == 0)
        return 0;
    fprintf(stderr, "%s: %s failed\n", tool_name, tool);
    return 1;
}

static int disassemble(const char *tool, const void *image, size_t bytes)
{
    char path[] = "/tmp/fajit-XXXXXX";
    int code = 1;
    if (write_cubin(image, bytes, path))
        code = run_tool(tool, path);
    unlink(path);
    return code;
}

int inspect_sass(const struct inspect_subject *subject)
{
    char tool[4096];
    void *image;
    size_t bytes;
    if (inspect_image(subject, &image, &bytes))
        return tool_fail(NULL);
    int code = 1;
    if (bytes < 4 || memcmp(image, "\177ELF", 4) != 0)
        fprintf(
            stderr,
            "%s: this device is given PTX, so there is no machine code: name a GPU, e.g. --arch "
            "sm_90\n",
            tool_name);
    else if (!find_tool(tool, sizeof(tool)))
        fprintf(stderr,
                "%s: " TOOL " is neither in PATH nor in $CUDA_HOME/bin; it comes with the CUDA "
                "toolkit (package cuda-nvdisasm-*). `fajit-inspect ptx` needs nothing.\n",
                tool_name);
    else
        code = disassemble(tool, image, bytes);
    fajit_free(image);
    return code;
}
