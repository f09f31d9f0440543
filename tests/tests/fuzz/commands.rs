use anyhow::{Result, ensure};
use chat_proto::command::{Command, Parsed, parse};
use chat_proto::{ErrorCode, Limits};
use chat_tests::fuzz::check_inputs;

/// The protocol, whose table lists the error codes.
const PROTOCOL: &str = include_str!("../../../PROTOCOL.md");

#[test]
fn a_command_that_is_decoded_encodes_to_the_same_command() -> Result<()> {
    let limits = Limits::default();
    check_inputs("commands", 20_000, |input| {
        let Parsed { reference, command } = parse(input, &limits);
        let spaced = [b" \n", input, b"\t\r\n"].concat();
        let again = parse(&spaced, &limits);
        ensure!(
            again.reference == reference && format!("{:?}", again.command) == format!("{command:?}"),
            "white space around it makes {again:?}"
        );
        let command = match command {
            Ok(command) => command,
            Err(invalid) => {
                let code = invalid.code.as_str();
                ensure!(PROTOCOL.contains(&format!("\n| `{code}` |")), "{code} is not listed");
                ensure!(!matches!(invalid.code, ErrorCode::Other(_)), "{code}");
                return Ok(());
            }
        };
        if let Command::Send { body, .. } = &command {
            let body = body.get().as_bytes();
            ensure!(input.windows(body.len()).any(|part| part == body), "the body is not as it was sent");
        }
        let encoded = command.encode(reference.as_deref());
        let decoded = parse(encoded.as_bytes(), &limits);
        ensure!(decoded.reference == reference, "{encoded}");
        let decoded = decoded.command?;
        ensure!(
            format!("{decoded:?}") == format!("{command:?}"),
            "{encoded} is {decoded:?}, not {command:?}"
        );
        ensure!(decoded.encode(reference.as_deref()) == encoded, "{encoded} is encoded differently");
        Ok(())
    })
}
