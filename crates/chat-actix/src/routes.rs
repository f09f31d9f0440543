use actix_web::dev::{
    AppService, HttpServiceFactory, ResourceDef, ServiceRequest, ServiceResponse, fn_service,
};
use actix_web::guard::{Guard, fn_guard};
use actix_web::{Error, HttpMessage};
use chat_core::{Answer, Decision, Endpoint, Mechanism, Message, Watch};

use crate::context::context;
use crate::convert::{answer, head};
use crate::hijack::hijack;

/// The chat as a service of an app, inside [`outermost`](crate::outermost).
///
/// It takes every request for the endpoint's path, whatever the method; with the endpoint's site, all that
/// no service before it took.
pub fn routes<M: Message>(endpoint: Endpoint<M>, mechanism: Mechanism) -> Routes<M> {
    Routes { endpoint, mechanism }
}

/// The service that [`routes`] makes.
#[derive(Debug)]
pub struct Routes<M: Message> {
    endpoint: Endpoint<M>,
    mechanism: Mechanism,
}

// By hand: a host's message need not be `Clone`.
impl<M: Message> Clone for Routes<M> {
    fn clone(&self) -> Self {
        Self { endpoint: self.endpoint.clone(), mechanism: self.mechanism }
    }
}

impl<M: Message> HttpServiceFactory for Routes<M> {
    fn register(self, config: &mut AppService) {
        let Self { endpoint, mechanism } = self;
        let chat = endpoint.clone();
        let guard = fn_guard(move |request| chat.concerns(request.head().uri.path()));
        let guards: Vec<Box<dyn Guard>> = vec![Box::new(guard)];
        let service = fn_service(move |request| respond(endpoint.clone(), mechanism, request));
        config.register_service(ResourceDef::prefix(""), Some(guards), service, None);
    }
}

async fn respond<M: Message>(
    endpoint: Endpoint<M>,
    mechanism: Mechanism,
    mut request: ServiceRequest,
) -> Result<ServiceResponse, Error> {
    let watch = request.extensions().get::<Watch>().cloned();
    let decision = endpoint.handle(&head(request.request()), watch.as_ref());
    let response = match (decision, mechanism) {
        (Decision::Upgrade(upgrade), Mechanism::Hijack) => hijack(upgrade, request.take_payload()),
        (Decision::Upgrade(upgrade), Mechanism::Context) => {
            context(upgrade, endpoint.chat().limits(), &mut request).await
        }
        (Decision::Answer(instead), _) => answer(instead),
        // The guard has asked already.
        (Decision::Pass, _) => answer(Answer::not_found()),
    };
    Ok(request.into_response(response))
}
