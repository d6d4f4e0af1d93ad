#!/bin/sh
# Explores the mesh with loom as it stands, and again without each step that its safety rests on
# (`Step` in kevy-rt/src/sys/sync.rs), which must make the models fail. Takes a few minutes, most of
# them to build.
set -eu
cd "$(dirname "$0")/../.."
RUSTFLAGS="--cfg loom ${RUSTFLAGS:-}" exec cargo test -p kevy-rt --release --lib mesh::loom_tests "$@"
