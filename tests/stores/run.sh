#!/bin/sh
# The store's tests, and the journeys that are about it, against another DynamoDB than the one in process (docs/stores.md).
#
#   tests/stores/run.sh                       MiniStack (MIT licence). Needs Python 3 and, the first time, the network: it is installed
#                                             into target/ministack. With MANDATE_REQUIRE_PYTHON=1 a skip is a failure.
#   tests/stores/run.sh dynamodb-local        AWS's DynamoDB Local, from the folder that DYNAMODB_LOCAL_HOME names. Needs Java 17. Nothing
#                                             is fetched: it comes under AWS's own licence, which whoever uses it has to accept.
#   tests/stores/run.sh http://host:port      whatever answers there
#
# Every test has a table of its own there, and leaves it.
set -eu
cd "$(dirname "$0")/../.."

skip() {
    echo "skipped: $1"
    [ "${MANDATE_REQUIRE_PYTHON:-0}" != 1 ] || exit 1
    exit 0
}

fail() {
    echo "error: $1" >&2
    exit 1
}

# Starts a server that is told its port and says nothing of value; answers are looked for, for half a minute.
serve() {
    port=$((20000 + $$ % 20000))
    output=$(mktemp)
    "$@" "$port" >"$output" 2>&1 &
    server=$!
    trap 'kill "$server" 2>/dev/null || true; rm -f "$output"' EXIT
    endpoint=http://127.0.0.1:$port
    looks=0
    until answers "$endpoint"; do
        looks=$((looks + 1))
        [ "$looks" -le 150 ] && kill -0 "$server" 2>/dev/null || { cat "$output"; fail "it does not start"; }
        sleep 0.2
    done
}

answers() {
    curl --silent --output /dev/null --max-time 2 "$1"
}

ministack() {
    BIND_HOST=127.0.0.1 GATEWAY_PORT=$1 SERVICES=dynamodb LOG_LEVEL=WARNING exec target/ministack/bin/ministack
}

dynamodb_local() {
    cd "$DYNAMODB_LOCAL_HOME"
    exec java -Djava.library.path=./DynamoDBLocal_lib -jar DynamoDBLocal.jar -inMemory -sharedDb -disableTelemetry -port "$1"
}

command -v curl >/dev/null || skip "curl is not installed"
costs=
case ${1:-ministack} in
ministack)
    command -v python3 >/dev/null || skip "python3 is not installed"
    if [ ! -x target/ministack/bin/ministack ]; then
        python3 -m venv target/ministack || skip "python3 has no venv"
        target/ministack/bin/pip install --quiet 'ministack==1.5.33' || skip "MiniStack cannot be installed"
    fi
    serve ministack
    ;;
dynamodb-local)
    [ -f "${DYNAMODB_LOCAL_HOME:-}/DynamoDBLocal.jar" ] || fail "DYNAMODB_LOCAL_HOME must name the folder that holds DynamoDBLocal.jar"
    command -v java >/dev/null || fail "java is not installed"
    # It tells of fewer units for a transaction than AWS's documentation (docs/stores.md).
    costs="--skip dynamodb::tests::costs"
    serve dynamodb_local
    ;;
http://* | https://*) endpoint=$1 ;;
*) fail "$1 is neither ministack, dynamodb-local nor a URL" ;;
esac

export MANDATE_TEST_DYNAMODB="$endpoint"
echo "the DynamoDB at $endpoint"
# shellcheck disable=SC2086 # none left out is no argument
cargo test -p shared --lib dynamodb:: -- $costs
cargo test -p tests --test demonstration --test journey --test isolation --test life --test replace
# Left out: whoever loses a claim waits by a clock that the test moves, which takes no time; a server that does take some is not waited for.
cargo test -p tests --test hand_out -- --skip a_token_that_lives_shorter_than_asked_for_is_refreshed_once_for_all_who_come_together
