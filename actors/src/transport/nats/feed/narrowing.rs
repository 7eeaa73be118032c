//! A hub that reads no more than what those who watch want: it goes on with another consumer when that changes.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{Feed, Reason, messages};
use crate::demand::{Demand, Reading, Wish};
use crate::hub_core::HubCore;
use crate::transport::nats::Link;

/// After how long without anybody who wants it something is not read any more.
const NARROWS_AFTER: Duration = Duration::from_secs(5);

/// Who comes and goes does not keep the hub from reading: between two changes it reads for so long.
const PAUSE: Duration = Duration::from_millis(200);

/// When the subjects have changed, and when they are to.
pub(super) struct Narrowing {
    /// Since when more has been read than anybody wants.
    less_since: Option<Instant>,
    changed: Option<Instant>,
    _reading: Option<Reading>,
}

impl Narrowing {
    pub(super) fn new(reading: Option<Reading>) -> Self {
        Self { less_since: None, changed: None, _reading: reading }
    }

    /// Resolves when more is wanted and may be read, if ever.
    pub(super) fn change_is_due(&self, link: &Arc<Link>) -> impl Future<Output = ()> + use<> {
        let (link, earliest) = (Arc::clone(link), self.earliest());
        async move {
            let Some(demand) = &link.demand else { return pending().await };
            while demand.wish() != Wish::More {
                demand.changed.notified().await;
            }
            // Nothing comes of it but that the time has come.
            timeout_at(earliest, pending::<()>()).await.ok();
        }
    }

    fn earliest(&self) -> Instant {
        self.changed.map_or_else(Instant::now, |changed| changed + PAUSE)
    }
}

impl Feed {
    /// Reads what is wanted by now, and no more: more soon, less after a while.
    pub(in super::super) async fn keep_to_demand(&mut self, core: &HubCore) -> Result<(), Reason> {
        let link = Arc::clone(&self.link);
        let Some(demand) = &link.demand else { return Ok(()) };
        match demand.wish() {
            Wish::Same => self.narrowing.less_since = None,
            Wish::Less => {
                let since = *self.narrowing.less_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= NARROWS_AFTER {
                    demand.narrow();
                    self.change_subjects().await?;
                }
            }
            Wish::More if Instant::now() >= self.narrowing.earliest() => {
                self.widen(core, demand).await?;
            }
            Wish::More => {}
        }
        Ok(())
    }

    /// What has come by now that nobody wanted is not to come as news.
    async fn widen(&mut self, core: &HubCore, demand: &Demand) -> Result<(), Reason> {
        let state = self.session.state().await?;
        if self.session.last_sequence(&self.subjects).await? <= self.read_through() {
            self.note_nothing_more(core, &state)?;
        }
        demand.widen(|| self.link.mark());
        self.change_subjects().await
    }

    /// Goes on behind the last message that was read, by another consumer.
    async fn change_subjects(&mut self) -> Result<(), Reason> {
        self.subjects = self.link.subjects();
        self.start = self.expected.unwrap_or(self.start);
        self.messages = messages(&self.session, &self.subjects, self.start).await?;
        self.consumer_sequence = 1;
        // Only now: what the stream discards before there is a consumer, that does not bring.
        self.first = self.session.state().await?.first_sequence;
        (self.narrowing.less_since, self.narrowing.changed) = (None, Some(Instant::now()));
        Ok(())
    }
}
