# Everything that CI runs: installs what the tests need, lints, tests, k6.
check:
    tests/run

# A chat server: just serve tungstenite, just serve warp --upgrade context, ...
serve adapter='tungstenite' *arguments:
    cargo run --release -p chatd-{{adapter}} -- {{arguments}}

# A k6 scenario on a binary, and a look at the server afterwards: just k6 fanout warp, just k6 soak axum context, ...
k6 scenario adapter upgrade='hijack' *arguments:
    K6="${K6:-$(command -v k6 || echo "$(tests/provide)/k6")}" \
        cargo run --quiet --release -p chat-tests --bin k6 -- {{scenario}} {{adapter}} --upgrade {{upgrade}} {{arguments}}

# The same on all binaries by turns, and one table: just k6-compare fanout -e RATE=50, ...
k6-compare scenario *arguments:
    K6="${K6:-$(command -v k6 || echo "$(tests/provide)/k6")}" \
        cargo run --quiet --release -p chat-tests --bin k6 -- {{scenario}} all --rounds 3 -e DURATION=5 {{arguments}}

# Load on a chat server that is started for it: just load fanout axum --connections 200 --rate 500.
load scenario adapter='tungstenite' *arguments:
    apps/chat-load/against {{scenario}} {{adapter}} {{arguments}}

# What it costs to keep messages: memory, process, disk, and a commit for each, by turns: just load-durability --rounds 5
load-durability *arguments:
    apps/chat-load/durability {{arguments}}

# Memory of an idle connection and cost of a delivery, for every binary.
bench:
    cargo bench -p chat-tests

# All crates' documentation.
doc:
    cargo doc --workspace --no-deps --open
