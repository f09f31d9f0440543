//! Two people in two terminals talk through a server that is killed: each sees what the other one sees.

use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use chat_tests::{Binary, Daemon, example, within};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::users::{new_secret, token};

/// The number of messages before the conversation. A terminal shows the newest 50.
const EARLIER: usize = 60;

/// A person at a terminal.
struct Person {
    terminal: Child,
    keyboard: ChildStdin,
    screen: Lines<BufReader<ChildStdout>>,
    /// The lines that were shown so far.
    shown: Vec<String>,
}

impl Person {
    fn sit_down(server: SocketAddr, token: &str) -> Result<Self> {
        let mut command = Command::from(example("terminal")?);
        let url = format!("ws://{server}/ws");
        command.args([&url, "--room", "lobby", "--token", token]).kill_on_drop(true);
        let mut terminal = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let keyboard = terminal.stdin.take().context("a keyboard")?;
        let screen = BufReader::new(terminal.stdout.take().context("a screen")?).lines();
        Ok(Self { terminal, keyboard, screen, shown: Vec::new() })
    }

    async fn write(&mut self, line: &str) -> Result<()> {
        Ok(self.keyboard.write_all(format!("{line}\n").as_bytes()).await?)
    }

    /// Reads up to a line that begins with this text, and returns it.
    async fn sees(&mut self, beginning: &str) -> Result<String> {
        loop {
            let line = within(self.screen.next_line()).await.with_context(|| self.lacks(beginning))??;
            let line = line.with_context(|| self.lacks(beginning))?;
            self.shown.push(line.clone());
            if line.starts_with(beginning) {
                return Ok(line);
            }
        }
    }

    fn lacks(&self, beginning: &str) -> String {
        format!("{beginning:?} was not shown: {:#?}", self.shown)
    }

    /// Returns the messages that `/list` shows, and the pinned ones.
    async fn list(&mut self) -> Result<Vec<String>> {
        self.write("/list").await?;
        let from = self.shown.len();
        let end = self.sees("-- up to date").await?;
        let is_message = |line: &&String| line.starts_with('[');
        let mut lines: Vec<_> = self.shown[from..].iter().filter(is_message).cloned().collect();
        // The number of unread messages is another one for each person.
        lines.push(end.split(" (").next().unwrap_or_default().to_owned());
        Ok(lines)
    }

    async fn leave(mut self) -> Result<()> {
        self.write("/quit").await?;
        self.hang_up().await
    }

    /// Ends the input, and waits for the end of the terminal.
    async fn hang_up(mut self) -> Result<()> {
        drop(self.keyboard);
        let status = within(self.terminal.wait()).await??;
        ensure!(status.success(), "{status}: {:#?}", self.shown);
        Ok(())
    }
}

async fn both_see(ann: &mut Person, bob: &mut Person, beginning: &str) -> Result<()> {
    ann.sees(beginning).await?;
    bob.sees(beginning).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_terminals_show_the_same_after_the_server_was_killed() -> Result<()> {
    let binary = Binary::one_per_adapter().next().context("a binary")?;
    let home = TempDir::new()?;
    let key = new_secret(binary, &home, "key")?;
    let tokens =
        [("ann", "Ann", "lobby=moderator"), ("bob", "Bob", "lobby=member"), ("cid", "Cid", "lobby=member")];
    let [of_ann, of_bob, of_cid] = tokens.map(|(id, name, rooms)| {
        let rooms = format!("{rooms},direct-*=member");
        token(binary, &key, &["--sub", id, "--name", name, "--rooms", &rooms, "--expires", "1h"])
    });
    let socket = TcpListener::bind("127.0.0.1:0")?;
    let (address, data) = (socket.local_addr()?, home.path().join("data"));
    let start = || {
        let keys = key.to_str().context("a path")?;
        Daemon::start_on(socket.try_clone()?.into(), &data, binary, &["--token-secret", keys])
    };
    let server = start()?;

    let mut ann = Person::sit_down(address, &of_ann?)?;
    ann.sees("-- Ann in lobby, with 1 here").await?;
    for n in 1..=EARLIER {
        ann.write(&format!("earlier {n}")).await?;
    }
    ann.sees(&format!("[{EARLIER}] Ann: earlier {EARLIER}")).await?;
    let mut bob = Person::sit_down(address, &of_bob?)?;
    let ready = bob.sees("-- up to date").await?;
    ensure!(ready.ends_with(&format!("({} older ones are unread: /older)", EARLIER - 50)), "{ready}");
    bob.write("/older").await?;
    bob.sees("[1] Ann: earlier 1").await?;
    bob.sees("-- end of the older messages").await?;
    bob.write("/read").await?;
    ensure!(bob.sees("-- read up to 60").await? == "-- read up to 60");

    ann.write("hello @bob").await?;
    ann.sees("[61] Ann: hello @bob").await?;
    ensure!(bob.sees("[61] Ann: hello").await?.ends_with("@bob (for you)"), "{:#?}", bob.shown);
    bob.write("/react 61 👍").await?;
    both_see(&mut ann, &mut bob, "-- Bob reacted to [61] Ann: hello @bob 👍1").await?;
    bob.write("/reply 61 hi").await?;
    both_see(&mut ann, &mut bob, "[63] Bob: hi (to 61)").await?;
    ann.write("/thread 61 in a thread").await?;
    both_see(&mut ann, &mut bob, "[64] Ann: in a thread (thread 61)").await?;
    ann.write("/edit 61 hello everybody").await?;
    both_see(&mut ann, &mut bob, "-- Ann edited [61] Ann: hello everybody (edited) 👍1 (replies: 1)").await?;
    bob.write("/edit 61 mine").await?;
    bob.sees("-- not possible").await?;
    ann.write("/pin 63").await?;
    both_see(&mut ann, &mut bob, "-- Ann pinned [63] Bob: hi (to 61) (pinned)").await?;
    ann.write("/delete 64 wrong room").await?;
    both_see(&mut ann, &mut bob, "-- Ann deleted [64] Ann: (deleted by Ann: wrong room) (thread 61)").await?;
    bob.write("/who").await?;
    bob.sees("-- here: Ann, Bob").await?;

    server.crash()?;
    both_see(&mut ann, &mut bob, "-- disconnected").await?;
    bob.write("are you there?").await?;
    ann.write("/react 63 🎉").await?;
    let server = start()?;
    both_see(&mut ann, &mut bob, "-- connected again").await?;
    for person in [&mut ann, &mut bob] {
        let from = person.shown.len();
        while !["Bob: are you there?", "-- Ann reacted to [63]"]
            .iter()
            .all(|part| person.shown[from..].iter().any(|line| line.contains(part)))
        {
            person.sees("").await?;
        }
    }
    ann.write("/thread 61 again").await?;
    both_see(&mut ann, &mut bob, "[70] Ann: again (thread 61)").await?;
    bob.write("/thread 61").await?;
    bob.sees("[70] Ann: again").await?;
    bob.write("/react 61 👍").await?;
    both_see(&mut ann, &mut bob, "-- Bob reacted to [61] Ann: hello everybody (edited) (replies: 2)").await?;

    let mut cid = Person::sit_down(address, &of_cid?)?;
    cid.sees("-- up to date; pinned: 63").await?;
    let (of_ann, of_bob, of_cid) = (ann.list().await?, bob.list().await?, cid.list().await?);
    ensure!(of_ann == of_bob && of_bob == of_cid, "{of_ann:#?} {of_bob:#?} {of_cid:#?}");
    ensure!(
        of_ann.len() == 51
            && of_ann.iter().any(|line| line.contains("(pinned) ") || line.ends_with("(pinned)"))
    );
    ann.write("/direct Bob").await?;
    ann.sees("-- Ann in a direct room with bob, with 1 here").await?;
    ann.write("psst").await?;
    ann.sees("[2] Ann: psst").await?;
    bob.sees("-- Ann has written to you alone: /direct ann").await?;
    bob.write("/direct ann").await?;
    bob.sees("-- Bob in a direct room with Ann, with 2 here").await?;
    bob.sees("[2] Ann: psst").await?;
    bob.write("what?").await?;
    both_see(&mut ann, &mut bob, "[4] Bob: what?").await?;
    bob.write("/room lobby").await?;
    bob.sees("-- Bob in lobby, with 2 here").await?;
    bob.write("I am back").await?;
    ensure!(cid.sees("[72] Bob: I am back").await? == "[72] Bob: I am back");
    for person in [ann, bob, cid] {
        ensure!(!person.shown.iter().any(|line| line.contains("unread)")), "{:#?}", person.shown);
        person.leave().await?;
    }
    server.stop()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_says_in_one_line_why_it_has_no_connection() -> Result<()> {
    let run = |words: &[&str]| -> Result<(Option<i32>, String, String)> {
        let output = example("terminal")?.args(words).stdin(Stdio::null()).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
    };
    let (status, shown, errors) = run(&["--help"])?;
    ensure!(status == Some(0) && errors.is_empty() && shown.starts_with("usage: terminal ws://"), "{errors}");
    ensure!(shown.contains("A guest may edit and delete only messages of the same connection."), "{shown}");
    let (status, _, errors) = run(&["--port"])?;
    ensure!(status == Some(2) && errors.starts_with("usage: terminal ws://"), "{errors}");

    let binary = Binary::one_per_adapter().next().context("a binary")?;
    let home = TempDir::new()?;
    let key = new_secret(binary, &home, "key")?;
    let keys = key.to_str().context("a path")?;
    let server = Daemon::start_in(&home.path().join("data"), binary, &["--token-secret", keys])?;
    let address = server.address();
    let url = format!("ws://{address}/ws");
    let (status, _, errors) = run(&[&url, "--token", "wrong"])?;
    let expected = format!(
        "no connection to {url}: the server refused the upgrade with 401 unauthorized; pass a valid token with --token\n"
    );
    ensure!(status == Some(1) && errors == expected, "{errors}");

    let (status, _, errors) = run(&[&url, "--name", "Ann"])?;
    let expected = format!("no connection to {url}: the server requires a token; pass one with --token\n");
    ensure!(status == Some(1) && errors == expected, "{errors}");

    let of_ann =
        token(binary, &key, &["--sub", "ann", "--name", "Ann", "--rooms", "*=member", "--expires", "1h"])?;
    let mut ann = Person::sit_down(address, &of_ann)?;
    ann.sees("-- Ann in lobby, with 1 here").await?;
    server.crash()?;
    ann.sees("-- disconnected: ").await?;
    for _ in 0..2 {
        ann.sees("-- no connection: connection refused; the next attempt is in ").await?;
    }
    let (status, _, errors) = run(&[&url])?;
    ensure!(status == Some(1) && errors.lines().count() == 1, "{errors}");
    ensure!(errors.contains("connection refused; no server listens there"), "{errors}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_ends_with_its_input_and_sends_it_first() -> Result<()> {
    let binary = Binary::one_per_adapter().next().context("a binary")?;
    let home = TempDir::new()?;
    let key = new_secret(binary, &home, "key")?;
    let keys = key.to_str().context("a path")?;
    let server = Daemon::start_in(&home.path().join("data"), binary, &["--token-secret", keys])?;
    let user = |id, name| {
        token(binary, &key, &["--sub", id, "--name", name, "--rooms", "lobby=member", "--expires", "1h"])
    };
    let (of_ann, of_bob) = (user("ann", "Ann")?, user("bob", "Bob")?);
    for part in ["first", "second"] {
        let mut ann = Person::sit_down(server.address(), &of_ann)?;
        for n in 1..=45 {
            ann.write(&format!("{part} {n}")).await?;
        }
        ann.hang_up().await?;
    }

    let mut bob = Person::sit_down(server.address(), &of_bob)?;
    bob.sees("[90] Ann: second 45").await?;
    ensure!(bob.sees("-- up to date").await? == "-- up to date (40 older ones are unread: /older)");
    bob.write("/older").await?;
    bob.sees("[21] Ann: first 21").await?;
    bob.sees("-- /older shows more").await?;
    bob.write("/older").await?;
    bob.sees("[1] Ann: first 1").await?;
    bob.sees("-- end of the older messages").await?;
    bob.write("/list").await?;
    ensure!(bob.sees("-- up to date").await? == "-- up to date", "{:#?}", bob.shown);
    bob.write("/edit abc x").await?;
    bob.sees("-- \"abc\" is not the number of a message: write /edit 3").await?;
    for line in ["/direct ann", "/direct", "/room Lobby", "/room other"] {
        bob.write(line).await?;
        let refusal = bob.sees("-- ").await?;
        ensure!(refusal.ends_with("; the next line goes to lobby"), "{line}: {refusal}");
    }
    bob.leave().await?;
    server.stop()?;
    Ok(())
}
