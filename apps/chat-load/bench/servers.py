"""The servers that are compared, and how they are built, started and loaded."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
RIVALS = ROOT / "apps/chat-load/rivals/Cargo.toml"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
# The directory of the results. Rooms on disk are here, too, so it must not be a memory disk.
RESULTS = TARGET / "bench"
SERVER_CORE, LOAD_CORE = "0", "1"
FLOOR = "floor"
UWEBSOCKETS = "uwebsockets"

# The limits of one client are lifted, because the load comes from a few connections and one address on purpose.
OPTIONS = (ROOT / "apps/chat-load/lifted-limits").read_text().split("\n")
LIMITS = [option.split() for option in OPTIONS if option]
NAMES = {"CHATD" + option.removeprefix("-").replace("-", "_").upper(): value for option, value in LIMITS}
LIFTED = {name: os.environ.get(name, value) for name, value in NAMES.items()}
MEMORY = {"CHATD_LISTEN": "127.0.0.1:0", "CHATD_DATA": ":memory:", **LIFTED}
# `{dir}` is a directory of the run.
SQLITE = {"CHATD_DATA": "{dir}/data", "CHATD_DURABILITY": "disk"}


def rival(program, protocol="plain"):
    return {"package": None, "program": program, "protocol": protocol, "env": {}}


def ours(adapter, upgrade="hijack", protocol="chat-bare", **env):
    program = f"chatd-{adapter}"
    env = {**MEMORY, "CHATD_UPGRADE": upgrade, **env}
    return {"package": program, "program": program, "protocol": protocol, "env": env}


SERVERS = {
    FLOOR: rival("floor"),
    UWEBSOCKETS: rival(UWEBSOCKETS),
    "axum-example": rival("axum"),
    "actix-example": rival("actix"),
    "warp-example": rival("warp"),
    "tungstenite-example": rival("tungstenite"),
    "socketioxide": rival("socketioxide", "socketio"),
    "chatd-tungstenite": ours("tungstenite"),
    "chatd-axum": ours("axum"),
    "chatd-warp": ours("warp"),
    "chatd-actix": ours("actix"),
    "chatd-axum/framework": ours("axum", "framework"),
    "chatd-warp/framework": ours("warp", "framework"),
    "chatd-actix/framework": ours("actix", "framework"),
    # With a `ref` and a `key` in each send.
    "chatd-tungstenite/ref": ours("tungstenite", protocol="chat"),
    # Rooms in SQLite; a message is sent to members when it is on the disk.
    "chatd-tungstenite/sqlite": ours("tungstenite", **SQLITE),
}


def build(names, profile):
    flags = ["--locked", "--quiet"] + (["--release"] if profile == "release" else [])
    packages = sorted({SERVERS[name]["package"] for name in names} - {None})
    for package in ["chat-load", *packages]:
        subprocess.run(["cargo", "build", *flags, "-p", package], cwd=ROOT, check=True)
    rivals = [SERVERS[name]["program"] for name in names if SERVERS[name]["package"] is None]
    bins = [flag for program in rivals if program != UWEBSOCKETS for flag in ("--bin", program)]
    # A target directory of its own: its dependencies have other features.
    command = ["cargo", "build", *flags, "--manifest-path", RIVALS, "--target-dir", TARGET / "rivals", *bins]
    subprocess.run(command, cwd=ROOT, check=True)
    if UWEBSOCKETS in rivals:
        build_uwebsockets(TARGET / "rivals" / profile / UWEBSOCKETS)


def build_uwebsockets(program):
    """Compiles uWebSockets and its server, with the options of its own build, without TLS and compression."""
    source = RIVALS.parent / UWEBSOCKETS
    sources = [source / "main.cpp", source / "Cargo.lock", pathlib.Path(__file__)]
    if program.exists() and all(program.stat().st_mtime > file.stat().st_mtime for file in sources):
        return
    # Downloads the sources.
    command = ["cargo", "metadata", "--locked", "--quiet", "--format-version", "1"]
    command += ["--manifest-path", source / "Cargo.toml"]
    said = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    packages = json.loads(said.stdout)["packages"]
    manifest = next(package["manifest_path"] for package in packages if package["name"] == "libuwebsockets-sys")
    library = pathlib.Path(manifest).parent / "uWebSockets"
    sockets = library / "uSockets/src"
    common = ["-O3", "-march=native", "-flto=auto", "-DLIBUS_NO_SSL", "-I", sockets]
    with tempfile.TemporaryDirectory() as objects:
        files = [*sockets.glob("*.c"), sockets / "eventing/epoll_kqueue.c"]
        subprocess.run(["cc", "-std=c11", "-w", *common, "-c", *files], cwd=objects, check=True)
        objects = sorted(pathlib.Path(objects).glob("*.o"))
        flags = ["-std=c++20", "-DUWS_NO_ZLIB", "-I", library / "src"]
        subprocess.run(["c++", *flags, "-w", *common, source / "main.cpp", *objects, "-o", program], check=True)


def pin(cores):
    return ["taskset", "-c", cores] if cores else []


@contextlib.contextmanager
def started(name, profile, cores=SERVER_CORE):
    """Starts a server, yields its URL, its process id and a directory, and stops the server."""
    server = SERVERS[name]
    directory = TARGET / profile if server["package"] else TARGET / "rivals" / profile
    arguments = [] if server["package"] else ["--listen", "127.0.0.1:0"]
    RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RESULTS) as dir, open(f"{dir}/log", "w+") as log:
        process = subprocess.Popen(
            [*pin(cores), directory / server["program"], *arguments],
            env={**os.environ, **{name: value.format(dir=dir) for name, value in server["env"].items()}},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            url = re.search(r"ws://[^,\s]+", process.stdout.readline())
            if not url:
                log.seek(0)
                sys.exit(f"{name} does not start: {log.read()}")
            yield url[0], process.pid, dir
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def run(name, shape, seconds, profile="release", pinned=True):
    """Starts a server, runs a shape on it, stops it, and returns the report of chat-load."""
    with started(name, profile, SERVER_CORE if pinned else None) as (url, pid, dir):
        load = [*pin(LOAD_CORE if pinned else None), TARGET / profile / "chat-load", *shape.split()]
        common = ["--duration", str(seconds), "--size", "128", "--patience", "10"]
        command = [*load, *common, "--protocol", SERVERS[name]["protocol"], "--url", url, "--pid", str(pid)]
        ran = subprocess.run([*command, "--json", f"{dir}/report"], capture_output=True, text=True)
        report = pathlib.Path(f"{dir}/report")
        # Without a report the load could not even connect.
        return json.loads(report.read_text()) if report.exists() else {"failures": [ran.stderr.strip()]}
