#!/usr/bin/env bash
# A PostgreSQL primary and a standby on this machine, to see a fail-over with one's own eyes. Not for production.
# docs/beyond-one-machine.md says what each step means.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: two-servers.sh COMMAND FOLDER

  start FOLDER          make a primary and a standby in FOLDER, start them, and print the URL of both
  synchronous FOLDER    let each commit wait for the standby: acknowledged means two machines
  asynchronous FOLDER   let no commit wait: acknowledged means one machine
  status FOLDER         say who streams to whom, and how
  fail-over FOLDER      kill the primary without warning and promote the standby
  rejoin FOLDER         make a new standby in place of the primary that was killed
  stop FOLDER           stop both servers; the folder stays and can be removed

PGPORT1 and PGPORT2 choose the ports (54331 and 54332).
TEXT
}

fail() {
    echo "two-servers.sh: $*" >&2
    exit 1
}

[ $# -eq 2 ] || { usage >&2; exit 2; }
command=$1
case $command in
start) mkdir -p "$2" ;;
synchronous | asynchronous | status | fail-over | rejoin | stop)
    [ -e "$2/primary" ] || fail "$2 has no servers; make them: two-servers.sh start $2"
    ;;
*)
    usage >&2
    exit 2
    ;;
esac
folder=$(cd "$2" && pwd)

# Debian keeps the programs of the server out of PATH; the newest release stands last.
if ! command -v initdb >/dev/null; then
    newest=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
    [ -n "$newest" ] || fail "PostgreSQL is missing; install it (apt-get install postgresql) or put its programs into PATH"
    PATH=$newest:$PATH
fi

# PostgreSQL refuses to run as the superuser.
as_owner() {
    if [ "$(id -u)" -eq 0 ]; then
        (cd / && setpriv --reuid=postgres --regid=postgres --clear-groups env PATH="$PATH" LC_ALL=C "$@")
    else
        env LC_ALL=C "$@"
    fi
}

# ALTER SYSTEM writes the file anew, with quotation marks.
port_of() { sed -n "s/^port = '*\([0-9]*\)'*$/\1/p" "$folder/$1/postgresql.auto.conf" | tail -n 1; }
ask() { as_owner psql -X -h 127.0.0.1 -p "$1" -U postgres -d postgres -Atqc "$2"; }
run() { as_owner pg_ctl -s -w -D "$folder/$1" -l "$folder/$1.log" "${@:2}"; }
# The folder of the server that takes writes, and of the other one.
primary() { cat "$folder/primary"; }
standby() { if [ "$(primary)" = one ]; then echo two; else echo one; fi; }

make_standby() { # of a primary, in a folder, at a port
    rm -rf "${folder:?}/$2"
    as_owner pg_basebackup --write-recovery-conf --wal-method=stream --checkpoint=fast -D "$folder/$2" \
        -d "host=127.0.0.1 port=$(port_of "$1") user=postgres application_name=standby"
    # What makes a primary wait for its standby is not for the standby itself.
    as_owner sed -i '/^synchronous_standby_names/d; /^port/d' "$folder/$2/postgresql.auto.conf"
    as_owner sh -c "echo 'port = $3' >>'$folder/$2/postgresql.auto.conf'"
    run "$2" start
}

url() {
    echo "postgres://postgres@127.0.0.1:$(port_of one),127.0.0.1:$(port_of two)/postgres?target_session_attrs=read-write"
}

case $command in
start)
    [ ! -e "$folder/primary" ] || fail "$folder has servers already"
    if [ "$(id -u)" -eq 0 ]; then chown postgres "$folder"; fi
    as_owner initdb -D "$folder/one" --auth=trust --username=postgres --encoding=UTF8 --no-locale >/dev/null
    as_owner sh -c "echo 'port = ${PGPORT1:-54331}' >>'$folder/one/postgresql.auto.conf'"
    as_owner sh -c "printf \"listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\n\" >>'$folder/one/postgresql.conf'"
    echo one >"$folder/primary"
    run one start
    make_standby one two "${PGPORT2:-54332}"
    url
    ;;
synchronous | asynchronous)
    port=$(port_of "$(primary)")
    names=$([ "$command" = synchronous ] && echo '*' || echo '')
    ask "$port" "ALTER SYSTEM SET synchronous_standby_names = '$names'"
    ask "$port" "SELECT pg_reload_conf()" >/dev/null
    ;;
status)
    echo "the primary is $(primary), at port $(port_of "$(primary)")"
    ask "$(port_of "$(primary)")" \
        "SELECT 'standby ' || application_name || ': ' || state || ', ' || sync_state FROM pg_stat_replication"
    ;;
fail-over)
    gone=$(primary)
    next=$(standby)
    run "$gone" -m immediate stop
    run "$next" promote
    echo "$next" >"$folder/primary"
    echo "the primary is $next now, at port $(port_of "$next")"
    ;;
rejoin)
    gone=$(standby)
    make_standby "$(primary)" "$gone" "$(port_of "$gone")"
    ;;
stop)
    for server in one two; do
        if [ -e "$folder/$server/postmaster.pid" ]; then run "$server" -m fast stop; fi
    done
    ;;
esac
