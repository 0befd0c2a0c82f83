#!/bin/sh
# Blanks, tabs, final newlines; files of at most 450 lines (tests: 900, cases being tables) and
# functions of at most 80 (kernels excepted: one is one function). Every environment variable read stands in
# the README.
set -eu
cd "$1"
max_function=80

list_files() {
    find src include autotune tools tests templates \
        \( -name '*.[ch]' -o -name '*.def' -o -name '*.cu' -o -name '*.cuh' -o -name '*.sh' \
        -o -name '*.md' -o -name 'meson.build' \) -type f
    ls meson.build README.md 2>/dev/null || true
}

bad=$(list_files | LC_ALL=C sort | while read -r file; do
    grep -nE '[[:blank:]]+$' "$file" | sed "s|^\([0-9]*\):.*|$file:\1: trailing blanks|"
    case $file in
    */gen/* | tests/golden/*) continue ;; # written by programs
    esac
    grep -n "$(printf '\t')" "$file" | sed "s|^\([0-9]*\):.*|$file:\1: a tab|"
    [ -z "$(tail -c 1 "$file")" ] || echo "$file: no newline at the end"
    case $file in
    *.[ch] | *.cu | *.cuh) ;;
    *) continue ;;
    esac
    case $file in
    include/fajit/fajit.h) max_file=100000 ;; # the manual, and one file by decision
    tests/*) max_file=900 ;;
    templates/*) max_file=700 ;;
    *) max_file=450 ;;
    esac
    awk -v max=$max_file -v file="$file" \
        'END { if (NR > max) print file ": " NR " lines, more than " max }' "$file"
    case $file in
    templates/*) continue ;;
    esac
    awk -v max=$max_function -v file="$file" '
        /^[{]/ { start = NR; next }
        /^[}]/ { if (start && NR - start - 1 > max)
                     print file ":" start ": a function of " NR - start - 1 " lines, more than " max
                 start = 0 }' "$file"
done)

bad="$bad$(grep -ohE '"FAJIT_[A-Z_]+"' src/ctx.c | tr -d '"' | sort -u | while read -r name; do
    grep -q "^| .$name. |" README.md || echo "README.md: no row for the variable $name"
done)"

[ -z "$bad" ] || {
    echo "$bad"
    exit 1
}
