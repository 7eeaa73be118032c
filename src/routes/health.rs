//! `GET /healthz`, whether the hub works, and `GET /readyz`, whether it wants work.

use std::time::Duration;

use serde_json::{Value, json};
use telemetry_hub_actors::{HubHandle, TransportState};
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::{Filter, Reply};

use super::{readable, with_hub};
use crate::reply::{self, HttpResponse, Problem};

/// How long the collector may take to answer. It never waits for anybody: half a second means that it is stuck.
const PATIENCE: Duration = Duration::from_millis(500);

pub(crate) fn healthz(hub: &HubHandle) -> BoxedFilter<(HttpResponse,)> {
    let route = with_hub(hub).then(async |hub: HubHandle| match hub.check_health(PATIENCE).await {
        Ok(()) => reply::json(&json!({"status": "ok"})),
        Err(error) => unavailable(error.to_string()),
    });
    readable(warp::path!("healthz").boxed(), route.boxed())
}

pub(crate) fn readyz(hub: &HubHandle) -> BoxedFilter<(HttpResponse,)> {
    let route = with_hub(hub).map(|hub: HubHandle| {
        if !hub.is_ready() {
            return unavailable("the hub is shutting down".to_owned());
        }
        match hub.transport() {
            TransportState::Alone | TransportState::Joined => reply::json(&ready(&hub)),
            apart @ (TransportState::Joining { .. } | TransportState::Apart { .. }) => {
                unavailable(apart.to_string())
            }
        }
    });
    readable(warp::path!("readyz").boxed(), route.boxed())
}

/// That it is ready, and what of the other hubs' events it leaves in the stream. Services that those who watch have named are only counted:
/// everybody may ask for this.
fn ready(hub: &HubHandle) -> Value {
    match (hub.services(), hub.narrowed_to()) {
        ([], None) => json!({"status": "ready"}),
        ([], Some(count)) => json!({"status": "ready", "narrowedTo": count}),
        (services, _) => json!({"status": "ready", "services": services}),
    }
}

fn unavailable(detail: String) -> HttpResponse {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
}
