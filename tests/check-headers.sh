#!/bin/sh
# fajit.h on its own: as C11 and as C++17, without a warning, with every compiler there is.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
warnings='-Wall -Wextra -pedantic -Werror -Wconversion'

printf '%s\n' '#include <fajit/fajit.h>' 'int main(void)' '{' \
    '    return fajit_version() == 0;' '}' >"$dir/alone.c"
cp "$dir/alone.c" "$dir/alone.cpp"

tried=0
try() { # compiler, standard, file
    command -v "$1" >/dev/null 2>&1 || return 0
    tried=$((tried + 1))
    # shellcheck disable=SC2086 # a list of words
    "$1" -std="$2" $warnings -I"$root/include" -c "$dir/$3" -o "$dir/alone.o"
}

root=$1
for compiler in cc gcc clang; do
    try $compiler c11 alone.c
    try $compiler c2x alone.c
done
for compiler in c++ g++ clang++; do
    try $compiler c++17 alone.cpp
done
[ $tried -gt 0 ] || {
    echo "no compiler found"
    exit 1
}
