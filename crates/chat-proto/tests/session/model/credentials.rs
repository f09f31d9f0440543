//! The credentials of the model.

use chat_proto::session::{Effect, Expiry, NotIdentified};
use chat_proto::{CloseCode, ErrorCode, Event};

use super::{Model, encoded, user};
use crate::SECOND;

impl Model {
    /// Answers a `hello`: with the user of the session if there is no refusal, and with a reason otherwise.
    pub(super) fn answer_hello(&mut self, refusal: Option<ErrorCode>, expires: bool) {
        let expires = expires.then(|| self.now + 5 * SECOND);
        let expiry = expires.map(|at| Expiry { at, unix_ms: 7 });
        let (answer, expected) = match refusal {
            None => (Ok(user("ada").until(expiry)), Ok(Ok("welcome"))),
            Some(ErrorCode::Unavailable) => (Err(NotIdentified::Unavailable), Ok(Err("unavailable"))),
            Some(ErrorCode::BadCursor) => (Err(NotIdentified::Unsupported), Ok(Err("already_identified"))),
            Some(ErrorCode::KeyConflict) => {
                (Err(NotIdentified::ConnectionLimit), Err(CloseCode::ConnectionLimit))
            }
            Some(ErrorCode::EmptyBody) if self.hello_until.is_none() => {
                (Ok(user("eve")), Err(CloseCode::Unauthorized))
            }
            Some(_) => (Err(NotIdentified::Unauthorized), Err(CloseCode::Unauthorized)),
        };
        self.has_hello = false;
        if refusal.is_none() && self.hello_until.is_some() {
            self.session.share_rate(Some(Box::new(self.user_rate.clone())));
        }
        let mut effects = self.session.handle_identification(self.now, answer);
        let expected = match expected {
            _ if self.closed.is_some() => return self.check(effects),
            Ok(reply) => reply,
            Err(close) => return self.check_close(&effects, close),
        };
        let rest = effects.split_off(1);
        let [Effect::Reply(reply)] = effects.as_slice() else { panic!("{effects:?}") };
        let command = self.owed.pop_front().expect("a hello is owed");
        if refusal.is_none() {
            self.hello_until = None;
            let notice = self.limits.connection.expiry_notice;
            self.expires = expires.map(|at| (at, Some(self.now.max(at - notice))));
        }
        self.check_reply(&encoded(reply), expected, command.reference.as_deref(), None);
        if self.hello_until.is_some_and(|until| until <= self.now) && !self.too_many_errors() {
            return self.check_close(&rest, CloseCode::HelloTimeout);
        }
        self.check(rest);
    }

    /// Reports the time to the session, which may be a deadline of its credentials.
    pub(crate) fn credentials(&mut self) {
        let due = match (self.hello_until, self.expires) {
            _ if self.has_hello => None,
            (Some(until), _) => Some(until),
            (None, expires) => expires.map(|(at, notice)| notice.unwrap_or(at)),
        };
        if self.closed.is_none() {
            assert_eq!(self.session.credentials_deadline(), due);
        }
        let effects = self.session.handle_credentials(self.now);
        if self.closed.is_some() || due.is_none_or(|due| self.now < due) {
            assert!(effects.is_empty(), "{effects:?}");
        } else if self.hello_until.is_some() {
            self.check_close(&effects, CloseCode::HelloTimeout);
        } else if let Some((at, notice @ Some(_))) = &mut self.expires
            && self.now < *at
        {
            *notice = None;
            assert!(matches!(effects.as_slice(), [Effect::Reply(Event::Expiring { at: 7 })]), "{effects:?}");
        } else {
            self.check_close(&effects, CloseCode::TokenExpired);
        }
    }
}
