//! Nodes with one defect each, and the case that must detect it.

use std::sync::Arc;

use chat_conformance::{Nodes, Outcome, Report, cases, run};
use chat_core::{Builder, Bus, BusSink, Limits, MemoryStore, NodeId, Notice, Role, User, async_trait};
use chat_jetstream::NatsBus;
use chat_tests::Adapter;
use libtest_mimic::{Failed, Trial};

use crate::mechanisms::served;
use crate::shared::share;

/// A defect of each node.
#[derive(Clone, Copy)]
struct Defect {
    name: &'static str,
    /// The path of the case that must detect it.
    case: &'static str,
    /// Changes a notice. Returns false if the bus loses it.
    passes: fn(&mut Notice) -> bool,
    change: fn(Builder) -> Builder,
}

const DEFECTS: [Defect; 9] = [
    Defect {
        name: "each_node_has_its_own_rooms",
        case: "events::a_message_has_user_body_and_time",
        passes: |_| true,
        change: |builder| builder.store(MemoryStore::default()),
    },
    losing("the_bus_loses_presence", "events::presence_announces_joins_and_leaves", |notice| {
        !matches!(notice, Notice::Presence { .. })
    }),
    losing("the_bus_loses_rosters", "events::joined_has_the_bounds_of_the_log", |notice| {
        !matches!(notice, Notice::Roster { .. })
    }),
    losing("the_bus_loses_typing", "events::typing_reaches_the_other_members", |notice| {
        !matches!(notice, Notice::Typing { .. })
    }),
    losing("the_bus_loses_kicks", "kick::a_kick_closes_every_connection_of_the_user", |notice| {
        !matches!(notice, Notice::Kick { .. })
    }),
    losing("the_bus_loses_markers", "receipts::the_other_users_see_a_read", |notice| {
        !matches!(notice, Notice::Read { .. })
    }),
    losing("the_bus_loses_direct_rooms", "direct::a_connected_user_learns_of_the_room", |notice| {
        !matches!(notice, Notice::Followed { on: true, .. })
    }),
    losing("the_bus_loses_roles", "roles::a_role_of_the_host_protects_its_user", |notice| {
        if let Notice::Presence { role, .. } = notice {
            *role = Role::None;
        }
        true
    }),
    losing("the_bus_loses_names", "roles::a_role_is_an_entry_of_the_log", |notice| {
        if let Notice::Presence { user, .. } = notice
            && let Ok(nameless) = User::new(user.id(), user.id())
        {
            *user = nameless;
        }
        true
    }),
];

const fn losing(name: &'static str, case: &'static str, passes: fn(&mut Notice) -> bool) -> Defect {
    Defect { name, case, passes, change: |builder| builder }
}

/// A bus that loses or changes some notices.
struct LosingBus {
    bus: Arc<NatsBus>,
    passes: fn(&mut Notice) -> bool,
}

#[async_trait]
impl Bus for LosingBus {
    fn connect(&self, node: &NodeId, sink: BusSink) {
        self.bus.connect(node, sink);
    }

    fn publish(&self, node: &NodeId, notice: &Notice) {
        let mut notice = notice.clone();
        if (self.passes)(&mut notice) {
            self.bus.publish(node, &notice);
        }
    }

    async fn disconnect(&self, node: &NodeId) {
        self.bus.disconnect(node).await;
    }
}

/// Returns a test for each defect.
pub(crate) fn trials(nats: &str) -> Vec<Trial> {
    let trial = |defect: Defect| {
        let nats = nats.to_owned();
        Trial::test(format!("defects::{}", defect.name), move || judge(&nats, defect)).with_kind(defect.case)
    };
    DEFECTS.into_iter().map(trial).collect()
}

fn judge(nats: &str, defect: Defect) -> Result<(), Failed> {
    let correct = Defect { passes: |_| true, change: |builder| builder, ..defect };
    if let Some(problem) = play(nats, correct)?.problem() {
        return Err(format!("without the defect: {problem}").into());
    }
    let report = play(nats, defect)?;
    match report.outcome {
        Outcome::Failed(_) => Ok(()),
        outcome => Err(format!("{} does not detect the defect: {outcome:?}", defect.case).into()),
    }
}

fn play(nats: &str, defect: Defect) -> Result<Report, Failed> {
    let case = cases().into_iter().find(|case| case.path() == defect.case).ok_or("no case has this path")?;
    let nats = nats.to_owned();
    let share = move |limits: Limits| {
        let nats = nats.clone();
        async move {
            let wrap = |bus| LosingBus { bus, passes: defect.passes };
            let mut shared = share(&nats, 2, &limits, wrap).await?;
            shared.builders = shared.builders.into_iter().map(defect.change).collect();
            Ok(shared)
        }
    };
    let nodes = [Adapter::Tungstenite, Adapter::Tungstenite].map(served);
    Ok(run(&Nodes::new(defect.name, nodes, share), &case))
}
