# Shared by quickstart and runtests: finds or installs what the build needs. Sourced, not run.

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

data_dir="${XDG_DATA_HOME:-$HOME/.local/share}/fajit"
nvrtc_dir=$data_dir/nvrtc
meson_dir=$data_dir/meson # only where the system's Meson is too old

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif have sudo; then sudo "$@"
    else return 1
    fi
}

# --- Packages: the same things, spelled as Debian and Ubuntu or as Fedora spell them ------------

debian_packages="gcc libc6-dev meson ninja-build pkg-config libzstd-dev libmd-dev libxxhash-dev libcjson-dev python3"
debian_test_packages="g++ libcmocka-dev clang clang-format clang-tidy valgrind gnuplot-nox"
fedora_packages="gcc meson ninja-build pkgconf-pkg-config libzstd-devel libmd-devel xxhash-devel cjson-devel python3"
fedora_test_packages="gcc-c++ libcmocka-devel clang clang-tools-extra compiler-rt valgrind gnuplot"

libraries="libzstd libmd libxxhash libcjson"

missing_build_tools() {
    local name
    for name in cc ninja pkg-config python3; do have $name || printf '%s ' $name; done
    for name in $libraries; do pkg-config --exists $name 2>/dev/null || printf '%s ' $name; done
    have meson || [ -x "$meson_dir/bin/meson" ] || printf 'meson '
}

# All at once is quick; one by one, a name that this release spells differently stops no other.
install_packages() { # Debian's names, Fedora's names
    local package
    if have apt-get; then
        as_root apt-get update -qq || say "note: the package lists could not be updated"
        # shellcheck disable=SC2086 # lists of words
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            $1 >/dev/null 2>&1 && return
        for package in $1; do
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
                --no-install-recommends "$package" >/dev/null 2>&1 ||
                say "note: package $package could not be installed"
        done
    elif have dnf; then
        # shellcheck disable=SC2086
        as_root dnf install -y -q $2 >/dev/null 2>&1 && return
        for package in $2; do
            as_root dnf install -y -q "$package" >/dev/null 2>&1 ||
                say "note: package $package could not be installed"
        done
    fi
}

need_build_tools() {
    local missing
    missing=$(missing_build_tools)
    if [ -n "$missing" ]; then
        say "installing build tools and libraries (missing: $missing)"
        install_packages "$debian_packages" "$fedora_packages"
        missing=$(missing_build_tools)
    fi
    [ -z "$missing" ] || die "these are still missing: ${missing% }. As root, install the packages
  Debian, Ubuntu: $debian_packages
  Fedora: $fedora_packages"
    need_meson
}

# Ubuntu 22.04's Meson is older than what the build asks for: then one of our own, from PyPI.
need_meson() {
    local wanted
    wanted=$(sed -n "s/.*meson_version: '>=\([0-9.]*\)'.*/\1/p" meson.build)
    [ ! -x "$meson_dir/bin/meson" ] || PATH=$meson_dir/bin:$PATH
    is_at_least "$(meson --version 2>/dev/null || echo 0)" "$wanted" && return
    say "Meson $(meson --version 2>/dev/null) is older than $wanted: taking one from PyPI into $meson_dir"
    python3 -m venv "$meson_dir" 2>/dev/null || {
        install_packages python3-venv python3
        python3 -m venv "$meson_dir" || die "python3 cannot make a virtual environment"
    }
    "$meson_dir/bin/pip" install -q "meson>=$wanted,<2" || die "pip could not install Meson"
    PATH=$meson_dir/bin:$PATH
}

is_at_least() { # version, wanted
    [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

missing_test_tools() {
    local name
    for name in clang clang-format clang-tidy valgrind; do have $name || printf '%s ' $name; done
    pkg-config --exists cmocka || printf 'cmocka '
    ! have clang || clang_can address || printf 'clang-runtime '
}

# Only cmocka is a must; a check whose tool is missing is skipped and says so.
need_test_tools() {
    local missing runtime
    missing=$(missing_test_tools)
    if [ -n "$missing" ]; then
        say "installing test tools (missing: $missing)"
        install_packages "$debian_test_packages" "$fedora_test_packages"
        if have apt-get && have clang && ! clang_can address; then
            # The sanitizers' runtime is a package of its own from LLVM 14 on, named by release.
            runtime=libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev
            install_packages "$runtime" ''
        fi
    fi
    pkg-config --exists cmocka || die "cmocka is missing and could not be installed: as root,
  Debian, Ubuntu: apt-get install libcmocka-dev
  Fedora: dnf install libcmocka-devel"
}

clang_can() { # sanitizers, as -fsanitize= takes them
    local code=0 out
    out=$(mktemp)
    if [ "$1" = fuzzer ]; then
        echo 'int LLVMFuzzerTestOneInput(const char *p, unsigned long n) { return p && n < 0; }'
    else
        echo 'int main(void) { return 0; }'
    fi | clang -fsanitize="$1" -x c - -o "$out" >/dev/null 2>&1 || code=1
    rm -f "$out"
    return $code
}

# --- NVRTC --------------------------------------------------------------------------------------

find_nvrtc() { # build directory
    local report
    report=$("$1/tools/fajit-tune" doctor 2>/dev/null) || return 1
    printf '%s\n' "$report" | sed -n 's/^  in use: \(.*nvrtc.*\)/\1/p' | grep .
}

# NVRTC from a toolkit or from an earlier run; else its wheel, unpacked into a private directory.
need_nvrtc() { # build directory
    find_nvrtc "$1" >/dev/null && return
    say "no NVRTC here: taking it from its Python wheel (about 90 MB) into $nvrtc_dir"
    python3 -m pip --version >/dev/null 2>&1 || install_packages python3-pip python3-pip
    python3 -m pip --version >/dev/null 2>&1 ||
        die "NVRTC comes from PyPI, and pip is missing: install the package python3-pip"
    local scratch
    scratch=$(mktemp -d)
    download_nvrtc "$scratch" || {
        rm -rf "$scratch"
        die "pip could not download NVRTC: check the network, or install the CUDA toolkit"
    }
    mkdir -p "$nvrtc_dir"
    unpack_nvrtc "$scratch" "$nvrtc_dir"
    rm -rf "$scratch"
    find_nvrtc "$1" >/dev/null ||
        die "NVRTC is still not found; what was tried: $1/tools/fajit-tune doctor"
}

download_nvrtc() { # directory
    local package
    for package in 'nvidia-cuda-nvrtc>=13,<14' 'nvidia-cuda-nvrtc-cu12>=12.4'; do
        python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: \
            -d "$1" "$package" && return
    done
    return 1
}

unpack_nvrtc() { # directory with the wheel, target
    python3 - "$@" <<'PYTHON'
import glob, os, sys, zipfile
scratch, target = sys.argv[1:]
for wheel in glob.glob(os.path.join(scratch, "*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            base = os.path.basename(name)
            if base.startswith("libnvrtc") and ".so" in base and ".alt." not in base:
                # Under another name first: a half-written library is never found.
                path = os.path.join(target, base)
                with open(path + ".part", "wb") as out:
                    out.write(archive.read(name))
                os.replace(path + ".part", path)
PYTHON
}
