use fastrand::Rng;

use super::dictionary::TEXTS;

/// The longest input in bytes that a mutation returns.
const MAX_BYTES: usize = 64 * 1024;

/// Changes a few bytes of an input: it removes, repeats, moves, replaces or inserts a part, or copies one
/// from `other`.
pub fn mutate_bytes(rng: &mut Rng, input: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=rng.usize(..4) {
        let at = rng.usize(..=input.len());
        let end = (at + length(rng)).min(input.len());
        match rng.u8(..9) {
            0 => drop(input.drain(at..end)),
            1 => input.truncate(at),
            2 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << rng.u8(..8)),
            3 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte = rng.u8(..)),
            4 => {
                let part = input[at..end].repeat(1 + length(rng));
                input.splice(at..at, part);
            }
            5 => {
                let noise: Vec<_> = (0..=rng.usize(..8)).map(|_| rng.u8(..)).collect();
                input.splice(at..at, noise);
            }
            6 => {
                let text = rng.choice(TEXTS).unwrap_or_default();
                input.splice(at..end, text.bytes());
            }
            7 => {
                let from = rng.usize(..=other.len());
                let to = (from + length(rng)).min(other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
            _ => {
                let part: Vec<_> = input.drain(at..end).collect();
                let to = rng.usize(..=input.len());
                input.splice(to..to, part);
            }
        }
        input.truncate(MAX_BYTES);
    }
}

/// Returns a length that is short most of the time.
fn length(rng: &mut Rng) -> usize {
    let bits = rng.u32(1..12);
    rng.usize(..1 << bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_are_bounded_and_repeatable() {
        let mutated = |seed| {
            let (mut rng, mut input) = (Rng::with_seed(seed), b"{\"type\":\"ping\"}".to_vec());
            for _ in 0..50 {
                mutate_bytes(&mut rng, &mut input, b"another");
                assert!(input.len() <= MAX_BYTES);
            }
            input
        };
        let all: std::collections::BTreeSet<_> = (0..500).map(mutated).collect();
        assert!(all.len() > 400, "{} different inputs", all.len());
        assert_eq!(mutated(7), mutated(7));
    }
}
