use std::time::Duration;

use chat_core::{Builder, Endpoint, Limits};

use crate::Stage;

/// A case of the suite: one rule of the contract, and the function that shows it on a [`Stage`].
pub type Case = chat_suite::Case<Stage, Conditions>;

/// The conditions under which a case runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions {
    /// The things that the case needs besides an address.
    pub needs: Needs,
    /// The reason why the conversation of the case differs from run to run, if it does.
    pub race: Option<&'static str>,
    /// The reason why the clients of the case must be on one node, if the server has several.
    pub one_node: Option<&'static str>,
    /// The place in the code of this repository to look at when the case fails.
    pub hint: &'static str,
    limits: Option<fn(&mut Limits)>,
    identify: Option<fn(Endpoint) -> Endpoint>,
    authorize: Option<fn(Builder) -> Builder>,
    pub(crate) has_renewable_logs: bool,
}

/// The things that a case needs of a server besides its address. Each includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needs {
    /// Nothing else.
    #[default]
    Address,
    /// A separate server. Its timeouts are short if they can be set.
    Fresh,
    /// A separate server that can be drained.
    Drain,
    /// A separate server with exactly the limits of the case.
    Limits,
    /// A server of its own in this process, with the case as its host service.
    Host,
}

impl Conditions {
    /// Returns the limits of a server that is started for this case.
    pub fn limits_of_server(&self) -> Limits {
        // Some mechanisms hold a broken connection for as long as a close may take.
        let mut limits = Limits::default().with(|limits| {
            limits.connection.close_timeout = Duration::from_millis(400);
        });
        if let Some(set) = self.limits {
            set(&mut limits);
        }
        limits
    }

    /// Adds the case's identity check, if it has one, to the endpoint of its server.
    pub(crate) fn endpoint(&self, endpoint: Endpoint) -> Endpoint {
        match self.identify {
            Some(identify) => identify(endpoint),
            None => endpoint,
        }
    }

    /// Adds the case's rights, if it has any, to the chat of its server.
    pub(crate) fn chat(&self, builder: Builder) -> Builder {
        match self.authorize {
            Some(authorize) => authorize(builder),
            None => builder,
        }
    }

    pub(crate) fn needs(self, needs: Needs) -> Self {
        Self { needs, ..self }
    }

    pub(crate) fn race(self, reason: &'static str) -> Self {
        Self { race: Some(reason), ..self }
    }

    pub(crate) fn one_node(self, reason: &'static str) -> Self {
        Self { one_node: Some(reason), ..self }
    }

    /// The case runs on a server of its own, with other limits where they can be set.
    pub(crate) fn limits(self, set: fn(&mut Limits)) -> Self {
        Self { limits: Some(set), needs: self.needs.max(Needs::Fresh), ..self }
    }
    /// The host of the case identifies its users.
    pub(crate) fn identify(self, set: fn(Endpoint) -> Endpoint) -> Self {
        Self { identify: Some(set), ..self.needs(Needs::Host) }
    }

    /// The host of the case decides about the rights of users.
    pub(crate) fn authorize(self, set: fn(Builder) -> Builder) -> Self {
        Self { authorize: Some(set), ..self.needs(Needs::Host) }
    }

    /// The logs of the case's server can begin another life.
    pub(crate) fn renewable_logs(self) -> Self {
        Self { has_renewable_logs: true, ..self.needs(Needs::Host) }
    }
}
