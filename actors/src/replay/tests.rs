use super::*;
use crate::config::HubConfig;
use crate::event::{Content, NewEvent};
use crate::query::TraceQuery;

#[test]
fn a_search_ends_though_all_that_it_looks_through_is_evicted() {
    let core = HubCore::new(HubConfig {
        replay_bytes: 4 * PAGE_BYTES,
        batch_bytes: PAGE_BYTES / 10,
        ..HubConfig::default()
    });
    let fill = || {
        for _ in 0..6 * PAGE_BYTES / 1000 {
            core.log.accept([(Content::Given(NewEvent::new("a")), 1000)], jiff::Timestamp::now());
            if let Some(batch) = core.log.next_unrouted() {
                core.log.mark_routed(&batch);
            }
        }
    };
    fill();
    let query = TraceQuery::parse("type=a&replay=10", None).unwrap();
    let group = core.groups.join(query.filter);
    let outbox = Outbox::new(&core.config, Arc::clone(&core.counters));
    let mut replayer = Replayer::new(&core, &group, &outbox, query.replay.unwrap(), None);
    let mut step = || replayer.step(&core, &group, &outbox, |_, _| {});
    assert!(matches!(step(), Step::Again));
    fill();
    assert!((0..100).any(|_| matches!(step(), Step::Done)));
}

#[cfg(feature = "nats")]
mod joined;
