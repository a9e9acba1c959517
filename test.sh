#!/usr/bin/env bash
# Installs what the tests need where it is missing, then runs all tests. Arguments go to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v cargo >/dev/null; then
    echo "test.sh: cargo is missing; install Rust 1.89 or later from https://rustup.rs" >&2
    exit 1
fi

# The bundled SQLite is built from C.
if ! command -v cc >/dev/null; then
    if ! command -v apt-get >/dev/null; then
        echo "test.sh: a C compiler is missing; install one that answers to cc" >&2
        exit 1
    fi
    as_root=""
    if [ "$(id -u)" -ne 0 ]; then as_root="sudo"; fi
    $as_root apt-get update -qq
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc libc6-dev
fi

exec cargo test --workspace --all-features --locked "$@"
