//! `POST /api/telemetry/events`: events in, whoever sends them.

use serde::Serialize;
use serde_json::value::RawValue;
use telemetry_hub_actors::event::json;
use telemetry_hub_actors::{HubHandle, NewEvent};
use warp::Filter;
use warp::filters::BoxedFilter;

use super::body::{self, Format, Incoming};
use super::{BodyLimit, respond, with_hub, writable};
use crate::reply::{self, HttpResponse, ItemError, Problem};

/// How many rejected items are told one by one; the count is always exact.
const MAX_TOLD_ERRORS: usize = 1000;

/// How many items are read before others get their turn on this thread.
const ITEMS_AT_A_TIME: usize = 256;

pub(crate) fn post(hub: &HubHandle, limit: BodyLimit) -> BoxedFilter<(HttpResponse,)> {
    let path = warp::path!("api" / "telemetry" / "events").boxed();
    let route = body::incoming().and(with_hub(hub)).then(
        move |incoming: Incoming, hub: HubHandle| async move {
            respond(accept_events(incoming, &hub, limit).await)
        },
    );
    writable(path, route.boxed())
}

async fn accept_events(
    incoming: Incoming,
    hub: &HubHandle,
    limit: BodyLimit,
) -> Result<HttpResponse, Problem> {
    let (format, body) = incoming.read(limit).await?;
    let max_event_bytes = hub.config().max_event_bytes;
    let items = items(format, &body)?;
    let mut batch = Batch::read(items, |item| json::read(item, max_event_bytes)).await;
    let events: Vec<NewEvent> = std::mem::take(&mut batch.good);
    let accepted = events.len();
    if accepted > 0 {
        hub.ingest(events).await?;
    }
    batch.answer(accepted)
}

/// The items of a body, each still to be read.
fn items(format: Format, body: &[u8]) -> Result<Vec<&[u8]>, Problem> {
    match format {
        Format::Json => {
            let not_json = |error| Problem::bad_request(format!("the body is not JSON: {error}"));
            let events = json::split(body).map_err(not_json)?;
            Ok(events.into_iter().map(RawValue::get).map(str::as_bytes).collect())
        }
        Format::Lines => Ok(lines(body)),
    }
}

/// The lines that are not blank.
pub(crate) fn lines(body: &[u8]) -> Vec<&[u8]> {
    body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|l| !l.is_empty()).collect()
}

/// What was made of the items of a body.
#[derive(Debug)]
pub(crate) struct Batch<T> {
    pub(crate) good: Vec<T>,
    rejected: usize,
    errors: Vec<ItemError>,
}

#[derive(Debug, Serialize)]
struct Answer {
    accepted: usize,
    #[serde(skip_serializing_if = "is_zero")]
    rejected: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ItemError>,
}

impl<T> Batch<T> {
    /// Reads every item; the bad ones do not spoil the others.
    pub(crate) async fn read<E: std::error::Error>(
        items: Vec<&[u8]>,
        read: impl Fn(&[u8]) -> Result<T, E>,
    ) -> Self {
        let mut batch = Self { good: Vec::with_capacity(items.len()), rejected: 0, errors: vec![] };
        for (index, item) in items.into_iter().enumerate() {
            if index % ITEMS_AT_A_TIME == ITEMS_AT_A_TIME - 1 {
                tokio::task::yield_now().await;
            }
            match read(item) {
                Ok(good) => batch.good.push(good),
                Err(error) => batch.reject(index, &error),
            }
        }
        batch
    }

    pub(crate) fn reject(&mut self, index: usize, error: &impl std::error::Error) {
        self.rejected += 1;
        if self.errors.len() < MAX_TOLD_ERRORS {
            self.errors.push(ItemError { index, error: error.to_string() });
        }
    }

    /// 200 if anything was accepted or nothing was sent; 400 if all was bad.
    pub(crate) fn answer(self, accepted: usize) -> Result<HttpResponse, Problem> {
        let Self { rejected, errors, .. } = self;
        if accepted == 0 && rejected > 0 {
            return Err(Problem::all_rejected(rejected, errors));
        }
        Ok(reply::json(&Answer { accepted, rejected, errors }))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}
