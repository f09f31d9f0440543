//! A conversation in a terminal: lines in, lines out. `/help` lists the commands.
//!
//! ```sh
//! cargo run -p chat-client --example terminal -- ws://127.0.0.1:8080/ws --name ann --room lobby
//! ```
//!
//! A server that identifies its users takes `--token TOKEN` instead of `--name`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the terminal is the output")]

mod advice;
mod commands;
mod screen;
mod text;

use std::io;
use std::process::ExitCode;

use chat_client::{Client, JoinFrom, RoomName};
use tokio::sync::mpsc;

use commands::{Ask, Input, Outcome};
use screen::Screen;

/// The number of commands that wait for their turn, at most.
const MAX_WAITING: usize = 64;

const USAGE: &str = "usage: terminal ws://HOST/ws [--name NAME | --token TOKEN] [--room ROOM]";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        println!("{USAGE}\n\nIn the conversation:\n{}", commands::HELP);
        return ExitCode::SUCCESS;
    }
    let (problem, code) = match Options::read(words.into_iter()) {
        Ok(options) => match talk(options).await {
            Ok(()) => return ExitCode::SUCCESS,
            Err(problem) => (problem, ExitCode::FAILURE),
        },
        Err(problem) => (problem, ExitCode::from(2)),
    };
    eprintln!("{problem}");
    code
}

/// Talks until the user leaves. An error is a line for the user.
async fn talk(Options { url, name, token, room }: Options) -> Result<(), String> {
    let mut builder = Client::builder(&url);
    if let Some(name) = name {
        builder = builder.name(name);
    }
    if let Some(token) = token {
        builder = builder.token(move || token.clone());
    }
    let (client, mut events) = builder
        .connect()
        .await
        .map_err(|error| format!("no connection to {url}: {}", advice::connect(&error)))?;
    let joined = client.join(&room, JoinFrom::Now).await;
    let joined = joined.map_err(|error| {
        format!("{room} cannot be joined: {}; try another --room", advice::command(&error))
    })?;
    let mut screen = Screen::new(&joined, client.user());
    let mut lines = read_lines();
    let (asks, asked) = mpsc::channel(MAX_WAITING);
    let (outcomes, mut outcome) = mpsc::channel(1);
    tokio::spawn(perform(client.clone(), asked, outcomes));
    let mut is_refreshing = false;
    loop {
        if let Some(ask) = screen.to_refresh().filter(|_| !is_refreshing) {
            is_refreshing = asks.try_send((screen.room().clone(), ask)).is_ok();
        }
        tokio::select! {
            event = events.next() => match event {
                Some(event) => screen.handle_event(&event),
                None => return Ok(()),
            },
            Some((room, outcome)) = outcome.recv() => {
                if room == *screen.room() {
                    is_refreshing &= !outcome.is_refreshed();
                    screen.handle_outcome(&outcome);
                } else if let Outcome::Failed(_) = outcome {
                    screen.handle_outcome(&outcome);
                }
            }
            line = lines.recv() => match line.map_or(Ok(Input::Quit), |line| Input::read(&line, &screen)) {
                Ok(Input::Ask(ask)) => {
                    if asks.try_send((screen.room().clone(), ask)).is_err() {
                        println!("-- too many commands wait");
                    }
                }
                // The events of the room wait meanwhile, so the screen that begins misses none.
                Ok(Input::Go(place)) => match place.join(&client).await {
                    Ok(joined) => {
                        if joined.room != *screen.room() {
                            let _left = client.leave(screen.room()).await;
                        }
                        screen = Screen::new(&joined, client.user());
                        is_refreshing = false;
                    }
                    Err(error) => {
                        println!("-- not possible: {}; {}", advice::command(&error), screen.next_line());
                    }
                },
                Ok(Input::List) => screen.list(),
                Ok(Input::Quit) => break,
                Ok(Input::Help) => println!("{}", commands::HELP),
                Err(problem) => println!("-- {problem}"),
            },
        }
    }
    drop(asks);
    // The commands that wait are carried out first.
    loop {
        tokio::select! {
            Some(event) = events.next() => screen.handle_event(&event),
            outcome = outcome.recv() => match outcome {
                Some((_, outcome)) => screen.handle_outcome(&outcome),
                None => break,
            },
        }
    }
    client.close().await.map_err(|error| advice::command(&error))
}

/// Carries out one command after the other, while events are shown.
async fn perform(
    client: Client,
    mut asked: mpsc::Receiver<(RoomName, Ask)>,
    outcomes: mpsc::Sender<(RoomName, Outcome)>,
) {
    while let Some((room, ask)) = asked.recv().await {
        let outcome = ask.perform(&client, &room).await;
        if outcomes.send((room, outcome)).await.is_err() {
            break;
        }
    }
}

/// Reads lines on a thread, because reading from a terminal blocks. The channel closes at the end of the input.
fn read_lines() -> mpsc::Receiver<String> {
    let (lines, receiver) = mpsc::channel(MAX_WAITING);
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if lines.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

struct Options {
    url: String,
    name: Option<String>,
    token: Option<String>,
    room: RoomName,
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut url, mut name, mut token, mut room) = (None, None, None, "lobby".to_owned());
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(USAGE);
            match word.as_str() {
                "--name" => name = Some(value()?),
                "--token" => token = Some(value()?),
                "--room" => room = value()?,
                _ if url.is_none() && !word.starts_with('-') => url = Some(word),
                _ => return Err(USAGE.to_owned()),
            }
        }
        let room = room.parse().map_err(|error| format!("--room {room}: {error}"))?;
        Ok(Self { url: url.ok_or(USAGE)?, name, token, room })
    }
}
