//! A conversation in a terminal: lines in, lines out. `/help` lists the commands.
//!
//! ```sh
//! cargo run -p chat-client --example terminal -- ws://127.0.0.1:8080/ws --name ann --room lobby
//! ```
//!
//! A server that identifies its users takes `--token TOKEN` instead of `--name`.

#![expect(clippy::print_stdout, reason = "the terminal is the output")]

mod commands;
mod screen;
mod text;

use std::error::Error;
use std::io;

use chat_client::{Client, JoinFrom, RoomName};
use tokio::sync::mpsc;

use commands::{Ask, Input, Outcome};
use screen::Screen;

/// The number of commands that wait for their turn, at most.
const MAX_WAITING: usize = 64;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let Options { url, name, token, room } = Options::read(std::env::args().skip(1))?;
    let mut builder = Client::builder(&url);
    if let Some(name) = name {
        builder = builder.name(name);
    }
    if let Some(token) = token {
        builder = builder.token(move || token.clone());
    }
    let (client, mut events) = builder.connect().await?;
    let mut screen = Screen::new(&client.join(&room, JoinFrom::Now).await?, client.user());
    let mut lines = read_lines();
    let (asks, asked) = mpsc::channel(MAX_WAITING);
    let (outcomes, mut outcome) = mpsc::channel(1);
    tokio::spawn(perform(client.clone(), room, asked, outcomes));
    let mut is_refreshing = false;
    loop {
        if let Some(ask) = screen.to_refresh().filter(|_| !is_refreshing) {
            is_refreshing = asks.try_send(ask).is_ok();
        }
        tokio::select! {
            event = events.next() => match event {
                Some(event) => screen.handle_event(&event),
                None => return Ok(()),
            },
            Some(outcome) = outcome.recv() => {
                is_refreshing &= !outcome.is_refreshed();
                screen.handle_outcome(&outcome);
            }
            Some(line) = lines.recv() => match Input::read(&line, &screen) {
                Ok(Input::Ask(ask)) => {
                    if asks.try_send(ask).is_err() {
                        println!("-- too many commands wait");
                    }
                }
                Ok(Input::List) => screen.list(),
                Ok(Input::Quit) => break,
                Ok(Input::Help) => println!("{}", commands::HELP),
                Err(problem) => println!("-- {problem}"),
            },
            else => break,
        }
    }
    drop(asks);
    // The commands that wait are carried out first.
    while let Some(outcome) = outcome.recv().await {
        screen.handle_outcome(&outcome);
    }
    Ok(client.close().await?)
}

/// Carries out one command after the other, while events are shown.
async fn perform(
    client: Client,
    room: RoomName,
    mut asked: mpsc::Receiver<Ask>,
    outcomes: mpsc::Sender<Outcome>,
) {
    while let Some(ask) = asked.recv().await {
        let outcome = ask.perform(&client, &room).await;
        if outcomes.send(outcome).await.is_err() {
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
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        const USAGE: &str = "usage: terminal ws://HOST/ws [--name NAME | --token TOKEN] [--room ROOM]";
        let (mut url, mut name, mut token, mut room) = (None, None, None, "lobby".parse()?);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(USAGE);
            match word.as_str() {
                "--name" => name = Some(value()?),
                "--token" => token = Some(value()?),
                "--room" => room = value()?.parse()?,
                _ if url.is_none() && !word.starts_with('-') => url = Some(word),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(Self { url: url.ok_or(USAGE)?, name, token, room })
    }
}
