use chat_conformance::client::{Frame, Request};
use fastrand::Rng;

use super::bytes::mutate_bytes;
use super::command::mutate_command;
use super::conversation::{Action, Conversation, Step};
use super::dictionary::{CLOSE_CODES, HEADERS, LENGTHS, METHODS, TARGETS, TEXTS, VERSIONS};

/// The largest number of steps of a conversation.
const MAX_STEPS: usize = 400;

/// Returns the conversation with this number. It depends on nothing but the arguments.
pub fn conversation(seeds: &[Conversation], seed: u64, number: u64) -> Conversation {
    let mut rng = Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let pick = |rng: &mut Rng| rng.choice(seeds).cloned().unwrap_or_default();
    let mut conversation = pick(&mut rng);
    if rng.u8(..3) == 0 {
        let other = pick(&mut rng);
        interleave(&mut rng, &mut conversation, other);
    }
    for _ in 0..=rng.usize(..6) {
        mutate(&mut rng, &mut conversation.steps);
    }
    conversation.steps.truncate(MAX_STEPS);
    conversation
}

/// Merges the steps of another conversation, on further connections.
fn interleave(rng: &mut Rng, conversation: &mut Conversation, other: Conversation) {
    let first = conversation.steps.iter().map(|step| step.connection + 1).max().unwrap_or_default();
    let mut at = 0;
    for step in other.steps {
        at = rng.usize(at..=conversation.steps.len());
        conversation.steps.insert(at, Step { connection: first + step.connection, action: step.action });
        at += 1;
    }
}

fn mutate(rng: &mut Rng, steps: &mut Vec<Step>) {
    if steps.is_empty() {
        return;
    }
    let at = rng.usize(..steps.len());
    let connection = steps[at].connection;
    let insert = |steps: &mut Vec<Step>, at: usize, action| steps.insert(at, Step { connection, action });
    match rng.u8(..14) {
        0 => drop(steps.remove(at)),
        1 => {
            let copies = rng.choice([1, 1, 2, 12, 80]).unwrap_or(1);
            let copy = steps[at].clone();
            steps.splice(at..at, vec![copy; copies]);
        }
        2 => {
            let other = rng.usize(..steps.len());
            steps.swap(at, other);
        }
        3 => insert(steps, at, Action::Wait),
        4 => {
            let end = rng.choice([Action::Finish, Action::Reset, Action::Block]).unwrap_or(Action::Finish);
            insert(steps, at + 1, end);
        }
        5 => insert(steps, at + 1, Action::Bytes(control_frame(rng).encode())),
        6 => cut(rng, steps, at),
        _ => {
            let replaced = match &steps[at].action {
                Action::Upgrade(target) => vec![Action::Bytes(request(rng, target))],
                Action::Text(text) if rng.bool() => vec![Action::Text(mutate_command(rng, text))],
                Action::Text(text) => frames(rng, text).into_iter().map(Action::Bytes).collect(),
                Action::Bytes(bytes) => {
                    let (mut bytes, other) = (bytes.clone(), steps[rng.usize(..steps.len())].action.bytes());
                    mutate_bytes(rng, &mut bytes, &other.unwrap_or_default());
                    vec![Action::Bytes(bytes)]
                }
                other => vec![other.clone()],
            };
            steps.splice(at..=at, replaced.into_iter().map(|action| Step { connection, action }));
        }
    }
}

/// Cuts the bytes of a step in two parts. The second part is sent later or never.
fn cut(rng: &mut Rng, steps: &mut Vec<Step>, at: usize) {
    let Some(mut bytes) = steps[at].action.bytes() else { return };
    let connection = steps[at].connection;
    let rest = bytes.split_off(rng.usize(..=bytes.len()));
    steps[at].action = Action::Bytes(bytes);
    let after = match rng.u8(..4) {
        0 => vec![Action::Reset],
        1 => vec![Action::Finish],
        2 => vec![Action::Wait, Action::Bytes(rest)],
        _ => vec![Action::Bytes(rest)],
    };
    let is_end = after.len() == 1 && !matches!(after[0], Action::Bytes(_));
    steps.splice(at + 1..at + 1, after.into_iter().map(|action| Step { connection, action }));
    if is_end {
        let mut number = 0;
        steps.retain(|step| {
            number += 1;
            number <= at + 2 || step.connection != connection
        });
    }
}

fn control_frame(rng: &mut Rng) -> Frame {
    let payload = vec![rng.u8(..); rng.choice([0, 1, 2, 125, 126]).unwrap_or(0)];
    match rng.u8(..4) {
        0 => Frame::ping(payload),
        1 => Frame::pong(payload),
        2 => Frame::new(8, payload),
        _ => Frame::close(rng.choice(CLOSE_CODES).unwrap_or(1_000), rng.choice(TEXTS).unwrap_or_default()),
    }
}

/// Returns the bytes of frames that carry a text, or break a rule of RFC 6455.
fn frames(rng: &mut Rng, text: &str) -> Vec<Vec<u8>> {
    let frame = Frame::text(text);
    let bytes = text.as_bytes();
    let frame = match rng.u8(..12) {
        0 | 1 => return fragments(rng, bytes),
        2 => frame.reserved(rng.u8(1..8)),
        3 => frame.unmasked(),
        4 => frame.announcing(rng.choice(LENGTHS).unwrap_or_default()),
        5 => frame.in_sixteen_bits(),
        6 => frame.in_sixty_four_bits(),
        7 => frame.masked_with([rng.u8(..), rng.u8(..), rng.u8(..), rng.u8(..)]),
        8 => frame.unfinished(),
        9 => Frame::new(rng.u8(..16), text),
        10 => {
            let mut payload = bytes.to_vec();
            mutate_bytes(rng, &mut payload, b"\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80\xff");
            Frame::text(payload)
        }
        _ => {
            let mut encoded = frame.encode();
            mutate_bytes(rng, &mut encoded, bytes);
            return vec![encoded];
        }
    };
    vec![frame.encode()]
}

/// Returns the fragments of a text, with control frames between them.
fn fragments(rng: &mut Rng, text: &[u8]) -> Vec<Vec<u8>> {
    let mut cuts: Vec<_> = (0..rng.usize(1..6)).map(|_| rng.usize(..=text.len())).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    let last = cuts.len() - 2;
    let mut encoded = Vec::new();
    for (number, pair) in cuts.windows(2).enumerate() {
        // A few continuations are wrong: they begin a message, or end it too early.
        let opcode = if (number == 0) == (rng.u8(..20) > 0) { 1 } else { 0 };
        let frame = Frame::new(opcode, &text[pair[0]..pair[1]]);
        let is_final = (number == last) == (rng.u8(..20) > 0);
        encoded.push(if is_final { frame.encode() } else { frame.unfinished().encode() });
        if rng.u8(..3) == 0 {
            encoded.push(control_frame(rng).encode());
        }
    }
    encoded
}

/// Returns the bytes of a request that is similar to the upgrade request for a target.
fn request(rng: &mut Rng, target: &str) -> Vec<u8> {
    let mut request = Request::handshake("localhost", target);
    for _ in 0..=rng.usize(..3) {
        let (name, value) = rng.choice(HEADERS).unwrap_or_default();
        request = match rng.u8(..7) {
            0 => request.without(name),
            1 => request.set(name, value),
            2 => request.add(name, value),
            3 => request.to(rng.choice(TARGETS).unwrap_or_default()),
            4 => request.add("X-Filler", &"x".repeat(rng.choice([10, 8_000, 16_000, 17_000]).unwrap_or(10))),
            5 => {
                rng.choice(METHODS).unwrap_or_default().clone_into(&mut request.method);
                request
            }
            _ => {
                rng.choice(VERSIONS).unwrap_or_default().clone_into(&mut request.version);
                request
            }
        };
    }
    let mut bytes = request.encode();
    if rng.u8(..4) == 0 {
        mutate_bytes(rng, &mut bytes, b"GET /ws HTTP/1.1\r\n\r\n\r\n\0\x7f\xff: ");
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_number_give_the_same_conversation() -> anyhow::Result<()> {
        let seeds = Conversation::parse_all(
            "0 upgrade /ws?name=a\n0 text {\"type\":\"join\",\"room\":\"lobby\",\"last\":1}\n---\n0 bytes x\n0 wait\n",
        )?;
        let all: std::collections::BTreeSet<_> =
            (0..1_000).map(|number| conversation(&seeds, 1, number).to_string()).collect();
        assert!(all.len() > 700, "{} different conversations", all.len());
        for number in 0..100 {
            let first = conversation(&seeds, 1, number);
            assert_eq!(first, conversation(&seeds, 1, number));
            assert_eq!(Conversation::parse_all(&first.to_string())?.concat_bytes(), [first].concat_bytes());
        }
        Ok(())
    }

    trait ConcatBytes {
        fn concat_bytes(&self) -> Vec<u8>;
    }

    impl ConcatBytes for [Conversation] {
        fn concat_bytes(&self) -> Vec<u8> {
            let steps = self.iter().flat_map(|conversation| &conversation.steps);
            steps.filter_map(|step| step.action.bytes()).flatten().collect()
        }
    }
}
