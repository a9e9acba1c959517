#!/usr/bin/env bash
# Installs what the tests need where it is missing, then runs all tests. Arguments go to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v cargo >/dev/null; then
    echo "test.sh: cargo is missing; install Rust 1.89 or later from https://rustup.rs" >&2
    exit 1
fi

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# install <what is missing, in words> <package>...
install() {
    if ! command -v apt-get >/dev/null; then
        echo "test.sh: $1 is missing; install it and run again" >&2
        exit 1
    fi
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${@:2}"
}

# The bundled SQLite is built from C.
if ! command -v cc >/dev/null; then
    install "a C compiler that answers to cc" gcc libc6-dev
fi

# The tests start servers of their own; the cluster that Debian would make and start is not needed.
if [ -z "${EVENTSOURCING_TEST_POSTGRES_URL:-}" ] && ! command -v pg_ctl >/dev/null \
    && ! compgen -G "/usr/lib/postgresql/*/bin/pg_ctl" >/dev/null; then
    if command -v apt-get >/dev/null; then
        as_root mkdir -p /etc/postgresql-common/createcluster.d
        echo "create_main_cluster = false" \
            | as_root tee /etc/postgresql-common/createcluster.d/eventsourcing-tests.conf >/dev/null
    fi
    install "PostgreSQL" postgresql
fi

# The tests of TLS make certificates as people do, and ask psql what it makes of them; those of poolers run a real one.
for program in openssl pgbouncer; do
    if ! command -v "$program" >/dev/null && [ ! -x "/usr/sbin/$program" ]; then
        install "$program" "$program"
    fi
done

# The pages are looked at with a real browser.
if ! command -v chromedriver >/dev/null || ! command -v chromium >/dev/null; then
    install "Chromium and its driver" chromium chromium-driver
fi

# The set-ups of proxies that docs/serving.md shows are run with a real one.
if ! command -v nginx >/dev/null && [ ! -x /usr/sbin/nginx ]; then
    if command -v apt-get >/dev/null; then
        # The tests start their own; the server that Debian would start is not needed.
        as_root ln -sf /dev/null /etc/systemd/system/nginx.service 2>/dev/null || true
    fi
    install "nginx" nginx
fi

exec cargo test --workspace --all-features --locked "$@"
