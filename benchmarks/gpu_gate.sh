#!/usr/bin/env bash
# One command for a machine with a GPU: every test marked gpu, then the steps of every recipe against the peers, under
# nine minutes. Runs from a checkout; nothing is installed but the wheels that are given. Results go to bench/gate.
#
#     benchmarks/gpu_gate.sh [--wheels DIR] [--suites NAME ...] [--columns NAME ...] [--only TEXT ...] [--commit HASH]
#                            [--tiny] [--out DIR]
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$checkout${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
exec python3 -m fastgan.benchmarks.gpu_gate "$@"
