#!/bin/sh
# Generated requests against the local stack, held to openapi.yaml: no 5xx, and no answer that is not described.
#
# Needs Python 3 and, the first time, the network: schemathesis is installed into target/schemathesis.
# Further options go on to schemathesis, e.g. `tests/fuzz/schemathesis.sh --seed 1 --max-examples 1000`.
# With MANDATE_REQUIRE_PYTHON=1 a skip is a failure.
set -eu
cd "$(dirname "$0")/../.."

skip() {
    echo "skipped: $1"
    [ "${MANDATE_REQUIRE_PYTHON:-0}" != 1 ] || exit 1
    exit 0
}

command -v python3 >/dev/null || skip "python3 is not installed"
tool=target/schemathesis/bin/schemathesis
if [ ! -x "$tool" ]; then
    python3 -m venv target/schemathesis || skip "python3 has no venv"
    target/schemathesis/bin/pip install --quiet 'schemathesis>=4.32,<5' || skip "schemathesis cannot be installed"
fi

cargo build --package local --bin local
output=$(mktemp)
target/debug/local --listen 127.0.0.1:0 --aws-listen 127.0.0.1:0 --refresh-every 0 >"$output" 2>/dev/null &
stack=$!
trap 'kill "$stack" 2>/dev/null || true; rm -f "$output"' EXIT
looks=0
until grep -q 'Ctrl-C stops' "$output"; do
    looks=$((looks + 1))
    [ "$looks" -le 100 ] && kill -0 "$stack" || { echo "error: the stack does not start"; exit 1; }
    sleep 0.1
done
base=$(sed -n 's/^ *API  *//p' "$output")
token=$(sed -n 's/^export TOKEN=//p' "$output")

# positive_data_acceptance is left out where a valid request cannot be made from a description: the callback's state, the completion code
# and the list's cursor are sealed, replace needs two different authorizations, and lengths in bytes cannot be said of a sign-in URL's fields.
# negative_data_rejection is left out because null counts as absent, and names of parameters are read more generously than described.
run() {
    "$tool" run openapi.yaml --checks all --url "$base" -H "Authorization: Bearer $token" --workers 1 --max-examples "${MANDATE_EXAMPLES:-50}" \
        --request-timeout 60 --generation-database none --warnings off --no-color --continue-on-failure "$@"
}
except=negative_data_rejection
sealed='receiveCallback|completeAuthorization|listAuthorizations|replaceAuthorization|createAuthorizationUrl'
run --exclude-checks "$except" --exclude-operation-id-regex "$sealed" "$@"
run --exclude-checks "$except,positive_data_acceptance" --include-operation-id-regex "$sealed" "$@"
