//! A stream that an operator takes away.

use crate::events::Wish;
use crate::hubs::HUBS;
use crate::publisher::Pace;
use crate::run::{Plan, Run, STREAM};
use crate::verdict::{Verdict, print_row};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn a_stream_that_is_deleted_is_made_again() {
    let fault = "the stream is deleted";
    let run = Run::start(fault, Plan { latecomers: false, ..Plan::default() }).await;
    run.publishers.post(0, 200, Pace::STEADY).await;
    // What nobody had read would be gone with it.
    for (subscriber, wish) in run.subscribers.iter().zip(Wish::EACH.iter().cycle()) {
        subscriber.has_seen((1..=200).filter(|number| wish.matches(*number)).count()).await;
    }
    let server = format!("nats://127.0.0.1:{}", run.nats.client_port(0));
    let client = async_nats::connect(server).await.unwrap();
    async_nats::jetstream::new(client).delete_stream(STREAM).await.unwrap();
    run.publishers.post(1, 400, Pace::STEADY).await;
    for subscriber in &run.subscribers {
        subscriber.has_heard_of_a_gap().await;
    }
    for hub in 0..HUBS {
        assert_eq!(run.hubs.measured(hub, "hub_transport_holes_total").await, 1);
        assert_eq!(run.hubs.measured(hub, "hub_transport_disconnects_total").await, 0);
    }
    let (ledger, mut records) = run.end(&[]).await;
    for record in &mut records {
        let gaps = std::mem::take(&mut record.gaps);
        let [(place, gap)] = gaps.as_slice() else { panic!("{}: {gaps:?}", record.name) };
        let before = record.seen.iter().filter(|(_, number)| *number <= 200).count();
        assert_eq!((*place, &gap["reason"]), (before, &"expired".into()), "{}", record.name);
    }
    let verdict = Verdict::of(&ledger, &records);
    print_row(fault, &ledger, &records, &verdict);
    verdict.is_clean();
}
