//! The comparison of the model with a real server: the same requests, the same answers.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Message, Request};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

use crate::life::new_stream;
use crate::link::{Client, Subscription};
use crate::shard::Shard;

use super::world::Model;
use super::{Rng, begin, end, servers};

/// The requests of one comparison.
const STEPS: u64 = 600;

/// The times that a read of a copy is repeated, and the pause before.
const MAX_READS: usize = 200;
const PAUSE: Duration = Duration::from_millis(5);

/// The code of a record that is refused because another one is on its way.
const IN_FLIGHT: u64 = 10_164;

/// The rooms to which records are sent, and the messages that have states.
const SUBJECTS: u64 = 3;

/// A request, as it is sent to both.
#[derive(Clone, Debug)]
enum Step {
    Request(String, HeaderMap, Bytes),
    Batch(Vec<(String, HeaderMap, Bytes)>),
    Read(Value),
}

#[test]
fn the_model_answers_as_a_real_server_does() {
    let real = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    for count in [1, 3] {
        let servers = servers::Servers::start(count);
        let client = real.block_on(servers.ready());
        let model =
            Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let modelled = model.block_on(async {
            begin(1);
            Model::start(1, count).connect().0
        });
        let (client, modelled): (Arc<dyn Client>, Arc<dyn Client>) = (Arc::new(client), modelled);
        let config = serde_json::to_value(new_stream("chat", Shard::ONLY, count)).expect("settings");
        let life = config["metadata"]["chat-life"].as_str().expect("a life").to_owned();
        let mut rng = Rng::new(count as u64);
        let (real_notices, model_notices) = (
            real.block_on(client.subscribe("chat.*.e.>".to_owned(), None)).expect("a subscription"),
            model.block_on(modelled.subscribe("chat.*.e.>".to_owned(), None)).expect("a subscription"),
        );
        let (mut notices, mut last) = ((real_notices, model_notices), State::default());
        let first = [
            Step::Request(api("STREAM.INFO"), HeaderMap::new(), Bytes::new()),
            Step::Request(api("STREAM.MSG.GET"), HeaderMap::new(), json!({ "seq": 1 }).to_string().into()),
            Step::Request(api("STREAM.CREATE"), HeaderMap::new(), config.to_string().into()),
            Step::Request(api("STREAM.CREATE"), HeaderMap::new(), other(&config).to_string().into()),
            Step::Read(json!({ "next_by_subj": "chat.>", "batch": 5, "seq": 1 })),
        ];
        let steps = first.into_iter().chain((0..STEPS).map(|_| Step::Batch(Vec::new())));
        for (number, step) in steps.enumerate() {
            let step = match step {
                Step::Batch(_) => last.step(&life, &config, &mut rng),
                step => step,
            };
            let mut answers = || {
                let ours = model.block_on(carry_out(&*modelled, &step, &mut notices.1));
                (ours, real.block_on(carry_out(&*client, &step, &mut notices.0)))
            };
            let (mut ours, mut theirs) = answers();
            for _ in 0..MAX_READS {
                if ours == theirs || !matches!(step, Step::Read(_)) {
                    break;
                }
                // A copy may be behind, here and there.
                std::thread::sleep(PAUSE);
                (ours, theirs) = answers();
            }
            assert_eq!(ours, theirs, "{count} servers, step {number}: {step:?}");
            last.learn(&ours);
        }
        assert!(last.stored > STEPS / 10, "{} of {STEPS} are stored", last.stored);
        end();
    }
}

/// The knowledge of a writer, so that some of its expectations are right.
#[derive(Default)]
struct State {
    last: std::collections::BTreeMap<String, u64>,
    highest: u64,
    stored: u64,
}

impl State {
    /// Returns some request of those that the crate sends.
    fn step(&self, life: &str, config: &Value, rng: &mut Rng) -> Step {
        let record = format!("chat.{life}.m.{}", rng.between(1, SUBJECTS));
        let state = |rng: &mut Rng| {
            format!("chat.{life}.s.{}.{}", rng.between(1, SUBJECTS), rng.between(1, SUBJECTS))
        };
        let place = rng.between(0, self.highest + 2);
        let body = |rng: &mut Rng| Bytes::from(format!("body {}", rng.next() % 1_000));
        let expecting = |subject: &str, rng: &mut Rng| {
            let mut headers = HeaderMap::new();
            let expected = self.last.get(subject).copied().unwrap_or_default();
            let expected = if rng.percent(25) { rng.between(0, self.highest) } else { expected };
            headers.insert("Nats-Expected-Stream", if rng.percent(3) { "other" } else { "chat" });
            headers.insert("Nats-Expected-Last-Subject-Sequence", expected.to_string().as_str());
            headers
        };
        let request = |method: &str, query: Value| {
            Step::Request(api(method), HeaderMap::new(), query.to_string().into())
        };
        match rng.between(0, 15) {
            0..4 => {
                let headers = expecting(&record, rng);
                Step::Request(record, headers, body(rng))
            }
            4..6 => {
                let (count, batch) = (rng.between(2, 4), format!("{:x}", rng.next()));
                let parts = (1..=count).map(|number| {
                    let is_last = number == count;
                    // A subject is in a batch once.
                    let state = format!("chat.{life}.s.{}.{number}", rng.between(1, SUBJECTS));
                    let subject = if is_last { record.clone() } else { state };
                    let mut headers = if is_last { expecting(&subject, rng) } else { HeaderMap::new() };
                    // A part of some batches is lost.
                    let number = if rng.percent(3) { number + 1 } else { number };
                    headers.insert("Nats-Batch-Id", &*batch);
                    headers.insert("Nats-Batch-Sequence", number.to_string().as_str());
                    if is_last {
                        headers.insert("Nats-Batch-Commit", "1");
                    }
                    (subject, headers, body(rng))
                });
                Step::Batch(parts.collect())
            }
            6 => Step::Request(format!("chat.{life}.p"), HeaderMap::new(), Bytes::new()),
            7 => request("STREAM.MSG.GET", json!({ "last_by_subj": record })),
            8 => request("STREAM.MSG.GET", json!({ "next_by_subj": record, "seq": place.max(1) })),
            9 => request("STREAM.MSG.GET", json!({ "seq": place.max(1) })),
            10 => request("STREAM.MSG.DELETE", json!({ "seq": place.max(1) })),
            11 if rng.percent(20) => {
                request("STREAM.PURGE", json!({ "filter": state(rng), "seq": place.max(1) }))
            }
            11 => request("STREAM.INFO", json!({})),
            12 => Step::Read(json!({
                "next_by_subj": if rng.percent(50) { record } else { format!("chat.{life}.>") },
                "batch": rng.between(1, 6), "seq": place.max(1), "max_bytes": rng.between(10, 200),
            })),
            13 => Step::Read(json!({
                "next_by_subj": record, "batch": 2, "start_time": "2001-02-03T04:05:06.007Z",
            })),
            14 if rng.percent(10) => {
                let mut config = config.clone();
                config["metadata"]["chat-epoch"] = format!("{:x}", rng.next()).into();
                request("STREAM.UPDATE", config)
            }
            _ => {
                let subjects: Vec<_> = (0..rng.between(1, 4)).map(|_| state(rng)).collect();
                let subjects = subjects.into_iter().chain(rng.percent(50).then_some(record));
                Step::Read(json!({ "multi_last": subjects.collect::<Vec<_>>() }))
            }
        }
    }

    fn learn(&mut self, seen: &Seen) {
        for (place, subject) in seen.notices.iter().filter_map(|notice| {
            Some((notice["Nats-Sequence"].as_str()?.parse().ok()?, notice["Nats-Subject"].as_str()?))
        }) {
            self.last.insert(subject.to_owned(), place);
            self.highest = self.highest.max(place);
            self.stored += 1;
        }
    }
}

/// The answers to a step, and the notices of it, without what two servers may have different.
#[derive(Debug, PartialEq)]
struct Seen {
    answers: Vec<Value>,
    notices: Vec<Value>,
}

/// Carries out a step. A real server refuses a record, seldom, because another one is on its way, although that one is
/// answered: it is sent again.
async fn carry_out(client: &dyn Client, step: &Step, notices: &mut Subscription) -> Seen {
    loop {
        let seen = try_to_carry_out(client, step, notices).await;
        if seen.answers.iter().all(|answer| answer["error"] != IN_FLIGHT) {
            return seen;
        }
        sleep(PAUSE).await;
    }
}

async fn try_to_carry_out(client: &dyn Client, step: &Step, notices: &mut Subscription) -> Seen {
    let mut answers = Vec::new();
    match step {
        Step::Request(subject, headers, payload) => {
            answers.push(ask(client, subject, headers, payload).await);
        }
        Step::Batch(parts) => {
            let (last, parts) = parts.split_last().expect("a part");
            for (subject, headers, payload) in parts {
                let sent =
                    client.publish(subject.clone(), None, Some(headers.clone()), payload.clone()).await;
                sent.expect("a connection");
            }
            answers.push(ask(client, &last.0, &last.1, &last.2).await);
        }
        Step::Read(query) => {
            let inbox = client.new_inbox();
            let mut read = client.subscribe(inbox.clone(), None).await.expect("a subscription");
            let sent = client.publish(api("DIRECT.GET"), Some(inbox), None, query.to_string().into()).await;
            sent.expect("a connection");
            loop {
                let message = timeout(Duration::from_secs(5), read.next()).await;
                let message = message.expect("an answer in time").expect("an answer");
                let is_end = message.status.is_some();
                answers.push(of_read(&message));
                if is_end {
                    break;
                }
            }
        }
    }
    let stored: u64 = answers
        .iter()
        .map(|answer| match (step, answer["seq"].as_u64()) {
            (Step::Request(..), Some(1..)) if answer["error"].is_null() => 1,
            (Step::Batch(parts), Some(1..)) if answer["error"].is_null() => parts.len() as u64,
            _ => 0,
        })
        .sum();
    let mut seen = Vec::new();
    for _ in 0..stored {
        let notice = timeout(Duration::from_secs(5), notices.next()).await;
        seen.push(of_notice(&notice.expect("a notice in time").expect("a notice")));
    }
    Seen { answers, notices: seen }
}

fn api(method: &str) -> String {
    format!("$JS.API.{method}.chat")
}

/// Returns other settings of a stream.
fn other(config: &Value) -> Value {
    let mut config = config.clone();
    config["metadata"]["chat-epoch"] = "other".into();
    config
}

/// Sends a request. Returns those parts of the answer that the crate reads.
async fn ask(client: &dyn Client, subject: &str, headers: &HeaderMap, payload: &Bytes) -> Value {
    let request = Request::new().headers(headers.clone()).payload(payload.clone());
    let answer = match client.request(subject.to_owned(), request.timeout(Some(Duration::from_secs(5)))).await
    {
        Ok(answer) => answer,
        Err(error) => return json!({ "failed": format!("{:?}", error.kind()) }),
    };
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
    if !answer["error"].is_null() {
        // The message to delete is not there: the crate takes both alike.
        let code =
            answer["error"]["err_code"].as_u64().map(|code| if code == 10_043 { 10_057 } else { code });
        return json!({ "error": code });
    }
    let (config, message) = (&answer["config"], &answer["message"]);
    json!({
        "seq": answer["seq"], "success": answer["success"], "purged": answer["purged"],
        "config": [&config["name"], &config["subjects"], &config["metadata"]["chat-epoch"], &config["allow_atomic"]],
        "state": [answer["state"]["last_seq"].as_u64(), answer["state"]["messages"].as_u64()],
        "message": [&message["subject"], &message["seq"], &message["data"]],
    })
}

/// Returns those parts of an answer to a read that the crate reads.
fn of_read(message: &Message) -> Value {
    let header = |name| message.headers.as_ref().and_then(|headers| Some(headers.get(name)?.to_string()));
    let names =
        ["Nats-Subject", "Nats-Sequence", "Nats-Num-Pending", "Nats-Last-Sequence", "Nats-UpTo-Sequence"];
    json!({
        "status": message.status.map(|status| status.as_u16()),
        "headers": names.map(header),
        "payload": String::from_utf8_lossy(&message.payload),
    })
}

fn of_notice(message: &Message) -> Value {
    let header = |name| message.headers.as_ref().and_then(|headers| Some(headers.get(name)?.to_string()));
    json!({
        "subject": message.subject.as_str(),
        "Nats-Subject": header("Nats-Subject"),
        "Nats-Sequence": header("Nats-Sequence"),
        "Nats-Last-Sequence": header("Nats-Last-Sequence"),
        "payload": String::from_utf8_lossy(&message.payload),
    })
}
