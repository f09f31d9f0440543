use chat_core::{Endpoint, Message};
use hyper::upgrade::OnUpgrade;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::{Decided, decided};

/// The chat on connections that are taken over from warp.
pub(crate) fn routes<M: Message>(endpoint: Endpoint<M>) -> BoxedFilter<(Response,)> {
    decided(endpoint)
        .and(warp::ext::optional::<OnUpgrade>())
        .map(|decided: Decided<M>, on_upgrade| match decided {
            Ok(upgrade) => chat_hyper::hijack(upgrade, on_upgrade),
            Err(answer) => chat_hyper::answer(answer),
        })
        .boxed()
}
