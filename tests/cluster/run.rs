//! A run: servers and hubs of its own, publishers and subscribers on all of them, and the verdict at the end.

use std::path::{Path, PathBuf};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::events::{SERVICE, Wish};
use crate::hubs::{HUBS, Hubs, Settings};
use crate::nats::Nats;
use crate::patience::PATIENCE;
use crate::publisher::{Ledger, Pace, Publishers};
use crate::subscriber::{Loyalty, Record, Watching};
use crate::verdict::{Verdict, print_row};

/// What a hub calls the stream unless told otherwise.
pub(crate) const STREAM: &str = "TELEMETRY";

/// Six processes each, which mostly wait for one another: two runs at a time leave none of them without a core.
static TURNS: Semaphore = Semaphore::const_new(2);

/// The right to run, and an empty folder for what is done.
pub(crate) async fn take_turn(fault: &str) -> (SemaphorePermit<'static>, PathBuf) {
    let turn = TURNS.acquire().await.expect("nobody closes it");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cluster").join(slug(fault));
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    std::fs::create_dir_all(&folder).unwrap();
    (turn, folder)
}

pub(crate) struct Run {
    fault: &'static str,
    latecomers: bool,
    pub(crate) hubs: Hubs,
    pub(crate) nats: Nats,
    pub(crate) publishers: Publishers,
    pub(crate) subscribers: Vec<Watching>,
    _turn: SemaphorePermit<'static>,
}

/// How a run is set up.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    /// How many of the servers have a disk that is soon full.
    pub(crate) small_disks: usize,
    pub(crate) loyalty: Loyalty,
    /// Whether at the end somebody comes to each hub who wants all that there ever was.
    pub(crate) latecomers: bool,
    pub(crate) last_hub: LastHub,
}

/// What the last hub reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastHub {
    /// All, as the others do.
    All,
    /// One service alone. Nobody goes there from another.
    OneService,
    /// What those who watch may want: at first one service.
    Wanted,
}

impl Default for Plan {
    fn default() -> Self {
        let settings = Settings::new();
        let loyalty = Loyalty::GoesOn;
        Self { settings, small_disks: 0, loyalty, latecomers: true, last_hub: LastHub::All }
    }
}

impl Plan {
    fn settings(&self) -> [Settings; HUBS] {
        let mut settings = std::array::from_fn(|_| self.settings.clone());
        let last = &mut settings[HUBS - 1];
        match self.last_hub {
            LastHub::All => None,
            LastHub::OneService => last.insert("NATS_SERVICES", format!("[{SERVICE}]")),
            LastHub::Wanted => last.insert("NATS_NARROW", "true".to_owned()),
        };
        settings
    }

    /// Who watches at this hub.
    fn wishes(&self, hub: usize) -> &'static [Wish] {
        match self.last_hub {
            LastHub::OneService if hub == HUBS - 1 => &[Wish::Served, Wish::Service],
            LastHub::Wanted if hub == HUBS - 1 => &[Wish::Named],
            LastHub::All | LastHub::OneService | LastHub::Wanted => &Wish::EACH,
        }
    }
}

impl Run {
    /// Everything runs, and a subscriber of each kind is connected to each hub. Nothing is posted yet.
    pub(crate) async fn start(fault: &'static str, plan: Plan) -> Self {
        let (turn, folder) = take_turn(fault).await;
        let nats = Nats::start(&folder, plan.small_disks).await;
        let hubs = Hubs::start(&folder, &nats, plan.settings()).await;
        let mut subscribers = Vec::new();
        for (hub, wish) in
            (0..HUBS).flat_map(|hub| plan.wishes(hub).iter().map(move |wish| (hub, *wish)))
        {
            subscribers.push(Watching::start(hubs.urls(), hub, wish, plan.loyalty));
        }
        for subscriber in &subscribers {
            subscriber.is_connected().await;
        }
        let publishers = Publishers::new(hubs.urls());
        let latecomers = plan.latecomers;
        Self { fault, latecomers, hubs, nats, publishers, subscribers, _turn: turn }
    }

    /// A run in which events are posted to all hubs from now on.
    pub(crate) async fn steady(fault: &'static str) -> Self {
        let mut run = Self::start(fault, Plan::default()).await;
        run.publishers.start(Pace::STEADY);
        run.publishers.accepted(100).await;
        run
    }

    /// Ends it when all hubs are ready, holds what was seen against what was answered 200, and has nothing to find.
    pub(crate) async fn finish(self) -> Ledger {
        let fault = self.fault;
        let (ledger, records) = self.end(&[]).await;
        let verdict = Verdict::of(&ledger, &records);
        print_row(fault, &ledger, &records, &verdict);
        verdict.is_clean();
        ledger
    }

    /// Ends it, and tells what each of those who watched has seen, and last the latecomers. The hubs end with it: they wait for these others,
    /// too, whatever they are to see.
    pub(crate) async fn end(self, others: &[&Watching]) -> (Ledger, Vec<Record>) {
        let Self { latecomers, hubs, publishers, mut subscribers, .. } = self;
        hubs.are_ready().await;
        let ledger = publishers.finish().await;
        for hub in (0..HUBS).filter(|_| latecomers) {
            subscribers.push(Watching::start(hubs.urls(), hub, Wish::All, Loyalty::Stays));
        }
        let deadline = Instant::now() + PATIENCE;
        for subscriber in subscribers.iter().chain(others.iter().copied()) {
            subscriber.is_complete(deadline).await;
        }
        (ledger, subscribers.iter().map(Watching::record).collect())
    }
}

/// The name of a folder.
fn slug(fault: &str) -> String {
    fault.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '-' }).collect()
}
