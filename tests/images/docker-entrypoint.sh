#!/usr/bin/env bash
# The entrypoint of the test images. It keeps the contract that people rely on in the official postgres image
# (environment variables, order of events, exit codes); the code is the project's own.
set -euo pipefail
shopt -s nullglob

fail() {
    printf 'Error: %s\n' "$@" >&2
    exit 1
}

# setting NAME [DEFAULT]: NAME, or the content of the file that NAME_FILE names, or DEFAULT.
setting() {
    local name=$1 file_name=$1_FILE value
    if [ -n "${!name:-}" ] && [ -n "${!file_name:-}" ]; then
        fail "both $name and $file_name are set (but are exclusive)"
    fi
    value=${!name:-${2:-}}
    if [ -n "${!file_name:-}" ]; then value=$(<"${!file_name}"); fi
    # The file form must not reach the server's environment, nor scripts that would then see both.
    unset "$file_name"
    export "$name=$value"
}

read_settings() {
    setting POSTGRES_PASSWORD
    setting POSTGRES_USER postgres
    setting POSTGRES_DB "$POSTGRES_USER"
    setting POSTGRES_INITDB_ARGS
    : "${POSTGRES_HOST_AUTH_METHOD:=}"
}

# From 18 on the volume lies one level higher. Data, or a mount, at the old place means that somebody upgraded the
# image and would now be given an empty server beside the data they expect.
refuse_misplaced_data() {
    [ "$PGDATA" = "/var/lib/postgresql/$PG_MAJOR/docker" ] || return 0
    local place found=()
    for place in /var/lib/postgresql /var/lib/postgresql/data /var/lib/postgresql/*/docker; do
        if [ -s "$place/PG_VERSION" ]; then found+=("$place"); fi
    done
    if [ "${#found[@]}" -eq 0 ] && mountpoint --quiet /var/lib/postgresql/data; then
        found+=("/var/lib/postgresql/data (unused mount/volume)")
    fi
    [ "${#found[@]}" -eq 0 ] || fail \
        "in 18+, the data directory is $PGDATA and the volume belongs at /var/lib/postgresql," \
        "but there appears to be PostgreSQL data in: ${found[*]}" \
        "mount a single volume at /var/lib/postgresql, and bring older data over with pg_upgrade or a dump"
}

require_password() {
    if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
        fail "Database is uninitialized and superuser password is not specified." \
            "set POSTGRES_PASSWORD to a non-empty value, or POSTGRES_HOST_AUTH_METHOD=trust to let everybody in"
    fi
}

initialise() {
    local arguments=()
    # The official image lets the shell split this variable, quotes included.
    eval "arguments=($POSTGRES_INITDB_ARGS)"
    if [ -n "${POSTGRES_INITDB_WALDIR:-}" ]; then arguments+=(--waldir "$POSTGRES_INITDB_WALDIR"); fi
    initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") "${arguments[@]}"
}

open_to_the_network() { # open_to_the_network COMMAND…
    local method=${POSTGRES_HOST_AUTH_METHOD:-$("$@" -C password_encryption)}
    printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

run_sql() {
    PGHOST='' PGHOSTADDR='' psql --no-psqlrc --no-password --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" "$@"
}

create_database() {
    if [ "$POSTGRES_DB" != postgres ]; then
        run_sql --dbname postgres --set name="$POSTGRES_DB" <<<'CREATE DATABASE :"name";'
    fi
}

run_shell_script() {
    # shellcheck source=/dev/null
    if [ -x "$1" ]; then "$1"; else . "$1"; fi
}

run_init_scripts() {
    local script
    for script in /docker-entrypoint-initdb.d/*; do
        echo "$0: $script"
        case $script in
            *.sh) run_shell_script "$script" ;;
            *.sql) run_sql --dbname "$POSTGRES_DB" --file "$script" ;;
            *.sql.gz) gunzip --stdout "$script" | run_sql --dbname "$POSTGRES_DB" ;;
            *.sql.xz) xz --decompress --stdout "$script" | run_sql --dbname "$POSTGRES_DB" ;;
            *.sql.zst) zstd --decompress --stdout "$script" | run_sql --dbname "$POSTGRES_DB" ;;
            *) echo "$0: ignoring $script" ;;
        esac
    done
}

# A server that nobody outside the container can reach yet, with the arguments that the real one will have: what
# they break, breaks here.
with_temporary_server() { # with_temporary_server COMMAND…
    shift
    local options
    options=$(printf '%q ' "$@" -c listen_addresses= -p "${PGPORT:-5432}")
    PGUSER=$POSTGRES_USER pg_ctl --pgdata="$PGDATA" --options="$options" --wait start
    export PGPASSWORD=$POSTGRES_PASSWORD
    create_database
    run_init_scripts
    unset PGPASSWORD
    PGUSER=$POSTGRES_USER pg_ctl --pgdata="$PGDATA" --mode=fast --wait stop
}

wants_server() {
    [ "$1" = postgres ] || return 1
    local argument
    for argument; do
        case $argument in -'?' | --help | --describe-config | -V | --version) return 1 ;; esac
    done
}

if [ "${1:0:1}" = - ]; then set -- postgres "$@"; fi

if wants_server "$@"; then
    # Still as root, who can read a secret file that belongs to somebody else.
    read_settings
    mkdir -p "$PGDATA"
    if [ "$(id -u)" = 0 ]; then
        find "$PGDATA" \! -user postgres -exec chown postgres {} +
        chmod 00700 "$PGDATA"
        exec gosu postgres "${BASH_SOURCE[0]}" "$@"
    fi
    chmod 00700 "$PGDATA" || true

    if [ -s "$PGDATA/PG_VERSION" ]; then
        printf '\n%s\n\n' 'PostgreSQL Database directory appears to contain a database; Skipping initialization'
    else
        refuse_misplaced_data
        require_password
        # Fail before anything is written where the scripts cannot be read.
        ls /docker-entrypoint-initdb.d/ >/dev/null
        initialise
        open_to_the_network "$@"
        with_temporary_server "$@"
        printf '\n%s\n\n' 'PostgreSQL init process complete; ready for start up.'
    fi
fi

exec "$@"
