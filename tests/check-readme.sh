#!/bin/sh
# What the README shows is true: its programs compile, the kernels it renders are there, and so are
# the files it links to.
set -eu
root=$1 build=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
status=0

# Every block of C, each in a function of its own, with what it takes as given.
awk -v dir="$dir" '
    /^```/ { inside = $0 == "```c"; blocks += inside; next }
    inside && !/^#include/ { print > (dir "/block" blocks) }' "$root/README.md"
for block in "$dir"/block*; do
    {
        echo '#include <stdio.h>'
        echo '#include <fajit/fajit.h>'
        echo 'void block(struct fajit_ctx *given, void *q, void *k, void *v, void *o, void *x,'
        echo '           void *w, void *y, int n, float eps, int64_t batch, int64_t seq,'
        echo '           void *stream);'
        echo 'void block(struct fajit_ctx *given, void *q, void *k, void *v, void *o, void *x,'
        echo '           void *w, void *y, int n, float eps, int64_t batch, int64_t seq,'
        echo '           void *stream)'
        echo '{'
        grep -q '^struct fajit_ctx \*ctx' "$block" || echo 'struct fajit_ctx *ctx = given;'
        cat "$block"
        echo '}'
    } >"$block.c"
    ${CC:-cc} -std=c11 -Wall -Wextra -Wno-unused-parameter -Werror -I"$root/include" -c "$block.c" \
        -o "$block.o" || status=1
done
[ -e "$dir/block1.o" ] || status=1

# Rendering needs neither a GPU nor NVRTC.
grep -E '^    fajit-inspect render ' "$root/README.md" | sed 's/ #.*//' >"$dir/commands"
[ -s "$dir/commands" ] || status=1
while read -r tool arguments; do
    # shellcheck disable=SC2086 # a list of words
    (cd "$root" && "$build/tools/$tool" $arguments) >"$dir/out" 2>&1 </dev/null &&
        grep -q __global__ "$dir/out" || {
        echo "README.md: $tool $arguments: $(head -n 1 "$dir/out")"
        status=1
    }
done <"$dir/commands"

for link in $(grep -oE '\]\([^)#:]+\)' "$root/README.md" "$root/templates/README.md" |
    sed -E 's|^(.*)README.md:\]\((.*)\)|\1\2|'); do
    [ -e "$link" ] || {
        echo "a link leads nowhere: $link"
        status=1
    }
done
exit $status
