//! The parts of a binary without the feature `otlp`. No value of these types exists.

use std::str::FromStr;

use tracing_subscriber::layer::Identity;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Collector {}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Traces {}

impl FromStr for Collector {
    type Err = &'static str;

    fn from_str(_: &str) -> Result<Self, Self::Err> {
        Err("this binary has no export of traces: build it with --features otlp")
    }
}

impl Traces {
    pub(crate) fn start(collector: &Collector, _: &'static str) -> Self {
        match *collector {}
    }

    pub(crate) fn layer(&self) -> Identity {
        match *self {}
    }

    pub(crate) fn publisher(&self) -> fn() {
        match *self {}
    }

    pub(crate) async fn shutdown(self) {
        match self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_without_the_feature_names_it() {
        let refused = "http://127.0.0.1:4318".parse::<Collector>().map(drop);
        assert!(refused.is_err_and(|text| text.contains("--features otlp")));
    }
}
