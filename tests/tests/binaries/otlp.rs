//! The export of traces to a collector for OpenTelemetry, over OTLP/HTTP.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use chat_tests::{BINARIES, Binary, Client, Daemon, eventually};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::admin::Server;

/// The requests that a collector has received, each with its bytes.
type Received = Arc<Mutex<Vec<(Vec<u8>, ExportTraceServiceRequest)>>>;

/// A collector that keeps what it receives.
struct Collector {
    url: String,
    received: Received,
}

impl Collector {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (url, received) = (format!("http://{}", listener.local_addr()?), Received::default());
        let shared = Arc::clone(&received);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(receive(stream, Arc::clone(&shared)));
            }
        });
        Ok(Self { url, received })
    }

    /// Returns all spans of all requests, each with its resource.
    fn spans(&self) -> Vec<(ResourceSpans, Span)> {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        let resources = received.iter().flat_map(|(_, request)| &request.resource_spans);
        let spans = |resource: &ResourceSpans| {
            let spans = resource.scope_spans.iter().flat_map(|scope| &scope.spans);
            spans.map(|span| (resource.clone(), span.clone())).collect::<Vec<_>>()
        };
        resources.flat_map(spans).collect()
    }

    /// Returns true if a request has this text.
    fn has(&self, text: &str) -> bool {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.iter().any(|(bytes, _)| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    }
}

/// Answers the requests of one connection with 200.
async fn receive(stream: TcpStream, received: Received) -> Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let head = head.to_lowercase();
        ensure!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
        ensure!(head.contains("\r\ncontent-type: application/x-protobuf\r\n"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.context("no length")?.parse()?];
        stream.read_exact(&mut body).await?;
        let request = ExportTraceServiceRequest::decode(&*body)?;
        received.lock().unwrap_or_else(PoisonError::into_inner).push((body, request));
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await?;
    }
}

/// Returns the fields of a span, an event or a resource as JSON.
fn fields(attributes: &[KeyValue]) -> Value {
    let value = |value: &Option<AnyValue>| match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => json!(text),
        Some(any_value::Value::IntValue(number)) => json!(number),
        other => json!(format!("{other:?}")),
    };
    attributes.iter().map(|field| (field.key.clone(), value(&field.value))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_connection_is_one_span_without_a_name_or_a_body() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let collector = Collector::start().await?;
        let daemon = Daemon::start(binary, &["--otlp", &collector.url, "--log-level", "warn"])?;
        let mut ids = Vec::new();
        for name in ["ann-the-name", "bob-the-name"] {
            let mut client = Client::open(daemon.address(), name).await?;
            let welcome = client.event().await?;
            ids.push(welcome["connection"].as_str().context("no connection")?.to_owned());
            client.join(None).await?;
            client.say("a-secret-text").await?;
            client.close(1000).await?;
        }
        eventually(|| async { Ok(collector.spans().len() == 2) }).await?;
        let mut found = Vec::new();
        for (resource, span) in collector.spans() {
            let resource = fields(&resource.resource.context("no resource")?.attributes);
            ensure!(resource["service.name"] == binary.name, "{resource}");
            ensure!(span.name == "connection" && span.parent_span_id.is_empty(), "{span:?}");
            ensure!(span.end_time_unix_nano >= span.start_time_unix_nano, "{span:?}");
            let of_span = fields(&span.attributes);
            let peer = of_span["peer"].as_str().unwrap_or_default();
            ensure!(peer.starts_with("127.0.0.1:"), "{binary:?}: {of_span}");
            found.push(of_span["id"].as_str().context("no id")?.to_owned());
            let ended = span.events.iter().find(|event| event.name == "session ended").context("no end")?;
            let ended = fields(&ended.attributes);
            ensure!(ended["close"] == "1000" && ended["received"] != "0", "{binary:?}: {ended}");
        }
        found.sort();
        ids.sort();
        ensure!(found == ids, "{binary:?}: {found:?}, and not {ids:?}");
        for text in ["the-name", "a-secret-text", "lobby"] {
            ensure!(!collector.has(text), "{binary:?}: a span has {text}");
        }
        // The spans of connections that the drain ends are sent before the process exits.
        let mut ann = Client::member(daemon.address(), "ann-the-name").await?;
        let closed = tokio::spawn(async move { ann.closed().await });
        daemon.stop()?;
        closed.await??;
        ensure!(collector.spans().len() == 3, "{binary:?}: {} spans", collector.spans().len());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_is_counted_and_logged_once() -> Result<()> {
    // A port that is bound and does not listen refuses connections.
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind("127.0.0.1:0".parse()?)?;
    let url = format!("http://{}", socket.local_addr()?);
    let server = Server::start(BINARIES[0], &["--otlp", &url]).await?;
    let is_counted = |failed: usize| {
        let server = &server;
        move || async move {
            let metrics = server.call("GET", "/metrics", None).await?.body;
            let line = format!("chat_trace_spans_total{{result=\"failed\"}} {failed}");
            Ok(metrics.lines().any(|other| other == line))
        }
    };
    for failed in 1..=2 {
        let mut client = Client::member(server.daemon.address(), "ann").await?;
        client.say("hi").await?;
        client.close(1000).await?;
        eventually(is_counted(failed)).await?;
    }
    let log = server.daemon.stop()?;
    let lines: Vec<_> = log.iter().filter(|line| line["message"] == "traces not exported").collect();
    ensure!(
        lines.len() == 1 && lines[0]["error"].as_str().is_some_and(|error| !error.is_empty()),
        "{lines:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_does_not_answer_delays_neither_the_chat_nor_the_end() -> Result<()> {
    // The kernel accepts connections, and nothing reads them.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let server = Daemon::start(BINARIES[0], &["--otlp", &url])?;
    for _ in 0..2 {
        let mut client = Client::member(server.address(), "ann").await?;
        client.say("hi").await?;
        client.close(1000).await?;
    }
    let _request = listener.accept().await?;
    Client::member(server.address(), "bob").await?.say("hi").await?;
    let log = server.stop()?;
    ensure!(log.iter().any(|line| line["message"] == "traces not flushed in time"), "{log:?}");
    Ok(())
}
