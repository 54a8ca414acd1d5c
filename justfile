# What people run most. `just --list` explains.

# Build the command.
build:
    cargo build --release

# The quickstart: a real model, real claims, a report, in a minute.
quickstart: build
    target/release/qa run specs/quickstart.yaml --out runs/quickstart || test $? -eq 10

# Every test.
test:
    cargo test --workspace

# What CI checks before the tests.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo deny check licenses bans sources

# Accept changed snapshots after reading them.
snapshots:
    INSTA_UPDATE=always cargo test --workspace

# Make the pages of the book that come from the code; `mdbook serve docs` shows it, where mdBook is installed.
docs: build
    target/release/qa reference

# Regenerate the published schemas.
schemas: build
    target/release/qa schema > specs/qa.schema.json
    target/release/qa schema report > reports/report.schema.json
