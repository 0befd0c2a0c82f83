# Shared by quickstart and runtests: finds or installs what the build needs. Sourced, not run.

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null 2>&1; then sudo "$@"
    else die "not root and no sudo; run as root: $*"
    fi
}

# Package names differ by distribution; the build needs the same things on all of them.
debian_packages="gcc meson ninja-build pkg-config libzstd-dev libmd-dev libxxhash-dev libcjson-dev python3"
debian_test_packages="libcmocka-dev clang clang-format clang-tidy libclang-rt-dev valgrind"
fedora_packages="gcc meson ninja-build pkgconf-pkg-config libzstd-devel libmd-devel xxhash-devel cjson-devel python3 python3-pip"
fedora_test_packages="libcmocka-devel clang clang-tools-extra compiler-rt valgrind libasan libubsan"

have_build_tools() {
    for tool in cc meson ninja pkg-config python3; do
        command -v "$tool" >/dev/null 2>&1 || return 1
    done
    pkg-config --exists libzstd libmd libxxhash libcjson
}

have_test_tools() {
    for tool in clang clang-format valgrind; do
        command -v "$tool" >/dev/null 2>&1 || return 1
    done
    pkg-config --exists cmocka
}

install_packages() { # debian list, fedora list
    if command -v apt-get >/dev/null 2>&1; then
        as_root apt-get update -qq
        # A name that this release spells differently must not stop the others.
        for package in $1; do
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
                "$package" >/dev/null || say "note: package $package is not available here"
        done
    elif command -v dnf >/dev/null 2>&1; then
        as_root dnf install -y -q --skip-unavailable $2 2>/dev/null || as_root dnf install -y -q $2
    else
        die "neither apt-get nor dnf here; install by hand: $1"
    fi
}

need_build_tools() {
    have_build_tools && return
    say "installing build tools and libraries"
    install_packages "$debian_packages" "$fedora_packages"
    have_build_tools || die "still missing after installing; see the messages above"
}

need_test_tools() {
    have_test_tools && return
    say "installing test tools"
    install_packages "$debian_test_packages" "$fedora_test_packages"
    have_test_tools || die "still missing after installing; see the messages above"
}

nvrtc_dir="${XDG_DATA_HOME:-$HOME/.local/share}/fajit/nvrtc"

# NVRTC from a toolkit or from an earlier run; else its wheel, unpacked into a private directory.
need_nvrtc() { # build directory
    if "$1/tools/fajit-tune" doctor 2>/dev/null | grep -q '^  in use: .*nvrtc'; then return; fi
    say "no NVRTC found: taking it from its Python wheel (about 90 MB) into $nvrtc_dir"
    mkdir -p "$nvrtc_dir"
    local scratch
    scratch=$(mktemp -d)
    python3 -m pip --version >/dev/null 2>&1 || install_packages "python3-pip" "python3-pip"
    python3 -m pip download -q --no-deps --only-binary=:all: -d "$scratch" 'nvidia-cuda-nvrtc>=13,<14' ||
        python3 -m pip download -q --no-deps --only-binary=:all: -d "$scratch" nvidia-cuda-nvrtc-cu12 ||
        die "pip could not download the NVRTC wheel"
    python3 - "$scratch" "$nvrtc_dir" <<'PYTHON'
import glob, os, sys, zipfile
scratch, target = sys.argv[1:]
for wheel in glob.glob(os.path.join(scratch, "*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            base = os.path.basename(name)
            if base.startswith("libnvrtc") and ".so" in base and ".alt." not in base:
                with open(os.path.join(target, base), "wb") as out:
                    out.write(archive.read(name))
PYTHON
    rm -rf "$scratch"
    "$1/tools/fajit-tune" doctor | grep -q '^  in use: .*nvrtc' ||
        die "NVRTC is still not found; see: $1/tools/fajit-tune doctor"
}
