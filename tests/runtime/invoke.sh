#!/bin/sh
# Builds the release bootstraps of all seven functions and invokes each with each of its events, through the real Runtime API: under
# AWS's Runtime Interface Emulator, with the environment that template.yaml gives it, against the emulated AWS of the local stack.
# Prints a table with sizes and init times; fails if one answer is not the one of events/expected.json. Needs no Docker.
#
# The emulator is part of the SAM CLI's Python package, which is installed into target/python the first time.
# MANDATE_RIE names another one; MANDATE_BOOTSTRAPS a folder of bootstraps that are built already.
set -eu
cd "$(dirname "$0")/../.."

if [ -z "${MANDATE_RIE:-}" ]; then
    case "$(uname -m)" in
        x86_64) machine=x86_64 ;;
        aarch64 | arm64) machine=arm64 ;;
        *) echo "error: there is no Runtime Interface Emulator for $(uname -m)" && exit 1 ;;
    esac
    find_emulator() { find target/python -path "*/samcli/local/rapid/aws-lambda-rie-$machine" 2>/dev/null | head -n 1; }
    MANDATE_RIE=$(find_emulator)
    if [ -z "$MANDATE_RIE" ]; then
        command -v python3 >/dev/null || { echo "error: python3 is not installed"; exit 1; }
        [ -x target/python/bin/pip ] || python3 -m venv target/python
        target/python/bin/pip install --quiet aws-sam-cli
        MANDATE_RIE=$(find_emulator)
    fi
    MANDATE_RIE=$PWD/$MANDATE_RIE
    chmod +x "$MANDATE_RIE"
fi
if [ -z "${MANDATE_BOOTSTRAPS:-}" ]; then
    cargo build --release -p create-url -p callback -p list -p revoke -p assign -p token -p refresh
    MANDATE_BOOTSTRAPS=${CARGO_TARGET_DIR:-$PWD/target}/release
fi
export MANDATE_RIE MANDATE_BOOTSTRAPS
cargo test -p tests --test events -- --nocapture runtime_api
