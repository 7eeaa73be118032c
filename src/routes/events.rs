//! `POST /api/telemetry/events`: events in, whoever sends them.

use serde::Serialize;
use telemetry_hub_actors::event::json::{self, EventError};
use telemetry_hub_actors::{IngestError, NewEvent};
use warp::Filter;
use warp::filters::BoxedFilter;

use super::{incoming, respond, sender, writable};
use crate::error_chain::error_chain;
use crate::intake::{Brought, Incoming, Intake, Via};
use crate::reply::{self, HttpResponse, ItemError, Problem};

/// How many rejected items are told one by one; the count is always exact.
const MAX_TOLD_ERRORS: usize = 1000;

/// How many items are read before others get their turn on this thread.
const ITEMS_AT_A_TIME: usize = 256;

pub(crate) fn post(intake: &Intake) -> BoxedFilter<(HttpResponse,)> {
    let path = warp::path!("api" / "telemetry" / "events").boxed();
    let route = incoming().and(sender(intake, Via::Events)).then(
        async |incoming: Incoming, intake: Result<Intake, Problem>| {
            respond(accept(incoming, intake).await)
        },
    );
    writable(path, route.boxed())
}

/// Why an event was rejected.
#[derive(Debug, thiserror::Error)]
enum ItemProblem {
    #[error(transparent)]
    Event(#[from] EventError),
    #[error(transparent)]
    TooLarge(#[from] IngestError),
}

async fn accept(
    incoming: Incoming,
    intake: Result<Intake, Problem>,
) -> Result<HttpResponse, Problem> {
    let intake = &intake?;
    let body = incoming.verified(intake).await?.read(intake).await?;
    let turn = intake.turn_to_parse().await?;
    let config = intake.hub.config();
    let limit = intake.hub.max_event_bytes();
    let read = |item: &[u8]| -> Result<NewEvent, ItemProblem> {
        let event = json::read(item, limit)?;
        intake.hub.check_event(&event)?;
        Ok(event)
    };
    let items = body.items(json::split)?;
    intake.spend_items(items.len())?;
    let mut batch = Batch::default();
    batch.read_on(&items, config.ingest_queue_bytes, read, NewEvent::size).await?;
    let events = std::mem::take(&mut batch.good);
    let accepted = events.len();
    // Others may parse while this waits for room, or for the stream of several hubs.
    drop(turn);
    if accepted > 0 {
        intake.hub.ingest(events).await?;
    }
    intake.note(batch.brought(body.size(), accepted));
    batch.answer(accepted)
}

/// What was made of the items of a body.
#[derive(Debug)]
pub(crate) struct Batch<T> {
    pub(crate) good: Vec<T>,
    /// How many items have been read.
    items: usize,
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

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { good: Vec::new(), items: 0, rejected: 0, errors: Vec::new() }
    }
}

impl<T> Batch<T> {
    /// Reads more items; the bad ones do not spoil the others. Together these may not come to more than `limit` bytes.
    pub(crate) async fn read_on<E: std::error::Error + 'static>(
        &mut self,
        items: &[&[u8]],
        limit: usize,
        read: impl Fn(&[u8]) -> Result<T, E>,
        size: impl Fn(&T) -> usize,
    ) -> Result<(), Problem> {
        self.good.reserve(items.len().min(ITEMS_AT_A_TIME));
        let mut bytes = 0;
        for item in items {
            let index = self.items;
            self.items += 1;
            if index % ITEMS_AT_A_TIME == ITEMS_AT_A_TIME - 1 {
                tokio::task::yield_now().await;
            }
            match read(item) {
                Ok(good) => {
                    bytes += size(&good);
                    self.good.push(good);
                }
                Err(error) => self.reject(index, &error),
            }
            if bytes > limit {
                return Err(IngestError::BatchTooLarge { bytes, limit }.into());
            }
        }
        Ok(())
    }

    fn reject(&mut self, index: usize, error: &(impl std::error::Error + 'static)) {
        self.rejected += 1;
        if self.errors.len() < MAX_TOLD_ERRORS {
            self.errors.push(ItemError { index, error: error_chain(error) });
        }
    }

    /// What it comes to, out of a body of this size.
    pub(crate) fn brought(&self, bytes: usize, accepted: usize) -> Brought {
        Brought { bytes, accepted, rejected: self.rejected }
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
