# Everything that CI runs: installs what the tests need, lints, tests, k6.
check:
    tests/run

# A chat server: just serve tungstenite, just serve warp --upgrade context, ...
serve adapter='tungstenite' *arguments:
    cargo run --release -p chatd-{{adapter}} -- {{arguments}}

# The story's load on a server that is already running.
smoke url='ws://127.0.0.1:8080/ws':
    k6 run -e URL={{url}} k6/smoke.js

# Memory of an idle connection and cost of a delivery, for every binary.
bench:
    cargo bench -p chat-tests

# All crates' documentation.
doc:
    cargo doc --workspace --no-deps --open
