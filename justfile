# Check formatting, lints, unit tests, the core crates and the guards. Needs no root.
check:
    tests/check

# Run the whole proof, as CI does. Needs root.
prove:
    tests/run

# Look for failures with seeds that CI does not use, for about 40 minutes: just search-failures
search-failures:
    CHAT_SEED=random CHAT_FUZZ_SEEDS=40 CHAT_SCRIPTS=1000 CHAT_PLANS=100 \
        cargo test -p chat-tests --no-fail-fast --test fuzz --test scripts --test followed_rooms --test one_room

# Check the crates that are linked: just deny, or just deny advisories
deny *checks='bans licenses sources':
    "$(command -v cargo-deny || echo "$(tests/provide)/cargo-deny")" --locked check {{checks}}

# Run a chat server: just serve warp --upgrade framework
serve adapter='tungstenite' *arguments:
    cargo run --release -p chatd-{{adapter}} -- {{arguments}}

# Run a k6 scenario against a server and check the server afterwards: just k6 soak axum framework --html page.html
k6 scenario adapter *arguments:
    K6="${K6:-$(command -v k6 || echo "$(tests/provide)/k6")}" \
        cargo run --release -p chat-tests --bin k6 -- {{scenario}} {{adapter}} {{arguments}}

# Run a k6 scenario against every server in turn and print one table: just k6-compare fanout -e RATE=50
k6-compare scenario *arguments:
    K6="${K6:-$(command -v k6 || echo "$(tests/provide)/k6")}" \
        cargo run --release -p chat-tests --bin k6 -- {{scenario}} all --rounds 3 -e DURATION=5 {{arguments}}

# Start a server and put load on it: just load fanout axum --connections 200 --rate 500
load scenario adapter='tungstenite' *arguments:
    apps/chat-load/against {{scenario}} {{adapter}} {{arguments}}

# Attack a server and measure the members of another room: just abuse axum --attack searches --seconds 5
abuse *arguments:
    apps/chat-load/abuse {{arguments}}

# Measure the cost of each durability level: just load-durability --rounds 5
load-durability *arguments:
    apps/chat-load/durability {{arguments}}

# Compare the CPU time of a delivery on a node of a cluster with a single server: just load-cluster --rounds 3
load-cluster *arguments:
    apps/chat-load/cluster-costs {{arguments}}

# Measure appends, deliveries and reads of a cluster on loopback, in this number of rounds: just bench-cluster 5
bench-cluster *arguments:
    cargo bench -p chat-jetstream --bench cluster -- {{arguments}}

# Measure the cost of edits, reactions and pages with reactions: just load-changes --rounds 3
load-changes *arguments:
    apps/chat-load/change-costs {{arguments}}

# Compare the CPU time of a delivery with other servers: just bench --rounds 1 --seconds 1, or just bench --check
bench *arguments:
    python3 apps/chat-load/bench {{arguments}}

# Simulate 10 million users, and print the tables of docs/scale.md: just scale storm --seed 7
scale *arguments:
    cargo run --release -p chat-scale -- {{arguments}}

# Measure the memory of an idle connection that has not joined, and the CPU time of a delivery with a `ref`.
footprint:
    cargo bench -p chat-tests

# Measure the cost of reading a command, appending its message and writing the reply: just bench-micro parse
bench-micro *arguments:
    cargo bench -p chat-proto --bench micro -- {{arguments}}

# Draw the panels of the dashboard with the data of a Prometheus: just dashboard http://127.0.0.1:9090 --minutes 60
dashboard url *arguments:
    python3 docs/monitoring/draw.py {{url}} {{arguments}}

# Play mutated conversations against a server, and check the server: just fuzz 300 warp --seed 7
fuzz seconds adapter *arguments:
    cargo run --quiet -p chat-tests --bin fuzz -- run {{seconds}} {{adapter}} {{arguments}}

# Play the conversations of a file, such as one that a failed run has written: just fuzz-replay FILE warp
fuzz-replay file adapter *arguments:
    cargo run --quiet -p chat-tests --bin fuzz -- replay {{file}} {{adapter}} {{arguments}}

# Build and open the documentation of all crates.
doc:
    cargo doc --workspace --no-deps --open
