use std::error::Error;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::trace::SpanData;
use prost::Message;
use tokio::time::timeout;

/// The path for traces (OTLP/HTTP, "Binary Protobuf Encoding").
const PATH: &str = "/v1/traces";

/// Time for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a response.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// The address of a collector, with the path for traces.
#[derive(Clone, Debug)]
pub(crate) struct Collector(Uri);

/// A client of one collector.
#[derive(Debug)]
pub(super) struct Exporter {
    uri: Uri,
    client: Client<HttpConnector, Full<Bytes>>,
    resource: ResourceAttributesWithSchema,
}

impl FromStr for Collector {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "a collector is a URL like http://127.0.0.1:4318; https is not supported: run a collector \
                            on this machine";
        let uri: Uri = text.parse().map_err(|_| FORM)?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(FORM)?;
        if uri.scheme_str() != Some("http") || uri.query().is_some() {
            return Err(FORM);
        }
        let path = format!("{}{PATH}", uri.path().trim_end_matches('/'));
        let uri = Uri::builder().scheme("http").authority(authority.clone()).path_and_query(path).build();
        uri.map(Self).map_err(|_| FORM)
    }
}

impl Exporter {
    pub(super) fn new(Collector(uri): &Collector, resource: ResourceAttributesWithSchema) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { uri: uri.clone(), client, resource }
    }

    /// Sends spans. Returns the number of those that the collector has rejected.
    ///
    /// # Errors
    ///
    /// The reason for the log, if the collector has not taken the request.
    pub(super) async fn export(&self, spans: Vec<SpanData>) -> Result<u64, String> {
        let exported = timeout(REQUEST_TIMEOUT, self.send(spans)).await;
        exported.map_err(|_| "no response in time".to_owned())?.map_err(|error| cause(&*error))
    }

    async fn send(&self, spans: Vec<SpanData>) -> Result<u64, Box<dyn Error + Send + Sync>> {
        let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let response = self.client.request(request).await?;
        let status = response.status();
        // The body is read also after a failure, so that the connection can be used again.
        let body = Limited::new(response.into_body(), MAX_RESPONSE_BYTES).collect().await?.to_bytes();
        if !status.is_success() {
            return Err(format!("status {}", status.as_u16()).into());
        }
        let partial = ExportTraceServiceResponse::decode(body)?.partial_success;
        Ok(partial.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0)))
    }
}

/// Returns the texts of an error and of its sources.
fn cause(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_a_base_url_without_tls() {
        for (url, traces) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://[::1]:4318/", "http://[::1]:4318/v1/traces"),
            ("http://collector.example/otlp/", "http://collector.example/otlp/v1/traces"),
        ] {
            let Collector(uri) = url.parse().expect(url);
            assert_eq!(uri.to_string(), traces);
        }
        for wrong in [
            "",
            "127.0.0.1:4318",
            "https://127.0.0.1:4318",
            "http://",
            "http://a@b",
            "http://a/?x=1",
            "http:///x",
        ] {
            assert!(wrong.parse::<Collector>().is_err(), "{wrong}");
        }
    }
}
