//! A hub that reads no more than what those who watch want: it goes on with another consumer when that changes.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{Feed, Reason, messages};
use crate::demand::{Demand, Reading, Wish};
use crate::hub_core::HubCore;
use crate::services::Services;
use crate::transport::nats::Link;

/// For how long the same has to be wanted before the rest is not read any more.
const NARROWS_AFTER: Duration = Duration::from_secs(5);

/// Who comes and goes does not keep the hub from reading: between two changes it reads for so long.
const PAUSE: Duration = Duration::from_millis(200);

/// When the subjects have changed, and when they are to.
pub(super) struct Narrowing {
    /// What is wanted, if that is less than is read, and since when.
    less: Option<(Services, Instant)>,
    /// When it changed last.
    changed: Option<Instant>,
    _reading: Option<Reading>,
}

impl Narrowing {
    pub(super) fn new(reading: Option<Reading>) -> Self {
        Self { less: None, changed: None, _reading: reading }
    }

    /// Resolves when more is wanted and may be read, if ever.
    pub(super) fn change_is_due(&self, link: &Arc<Link>) -> impl Future<Output = ()> + use<> {
        let (link, earliest) = (Arc::clone(link), self.changed.map(|changed| changed + PAUSE));
        async move {
            let Some(demand) = &link.demand else { return pending().await };
            while demand.wish() != Wish::More {
                demand.changed.notified().await;
            }
            if let Some(earliest) = earliest {
                // Nothing comes of it but that the time has come.
                timeout_at(earliest, pending::<()>()).await.ok();
            }
        }
    }

    fn may_change(&self) -> bool {
        self.changed.is_none_or(|changed| changed.elapsed() >= PAUSE)
    }

    /// Whether the same has been wanted for so long that the rest is given up.
    fn gives_up(&mut self, wanted: Services) -> bool {
        match &self.less {
            Some((less, since)) if *less == wanted => since.elapsed() >= NARROWS_AFTER,
            Some(_) | None => {
                self.less = Some((wanted, Instant::now()));
                false
            }
        }
    }
}

impl Feed {
    /// Reads what is wanted by now, and no more: more soon, less after a while.
    pub(in super::super) async fn keep_to_demand(&mut self, core: &HubCore) -> Result<(), Reason> {
        let link = Arc::clone(&self.link);
        let Some(demand) = &link.demand else { return Ok(()) };
        match demand.wish() {
            Wish::Same => self.narrowing.less = None,
            Wish::Less => {
                if self.narrowing.gives_up(demand.wanted()) {
                    demand.narrow();
                    self.change_subjects().await?;
                }
            }
            Wish::More if self.narrowing.may_change() => self.widen(core, demand).await?,
            Wish::More => {}
        }
        Ok(())
    }

    /// Reads what is wanted besides. What has come of that by now is not to come as news, unless something else is still on its way.
    async fn widen(&mut self, core: &HubCore, demand: &Demand) -> Result<(), Reason> {
        if self.is_another {
            // Where that begins was found by what was wanted before.
            return Err("more is wanted of a stream of which nothing has been read".to_owned());
        }
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
        let (messages, consumer) = messages(&self.session, &self.subjects, self.start).await?;
        let before = std::mem::replace(&mut self.consumer, consumer);
        (self.messages, self.consumer_sequence) = (messages, 1);
        // Else the server forgets it after a while.
        self.session.delete_consumer(&before).await.ok();
        // Only now: what the stream discards before there is a consumer, that does not bring.
        self.first = self.session.state().await?.first_sequence;
        (self.narrowing.less, self.narrowing.changed) = (None, Some(Instant::now()));
        Ok(())
    }
}
