//! What a hub is known by is replaced while it runs, or ends.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nkeys::KeyPair;
use tokio::time::Instant;

use crate::credentials::Operator;
use crate::events::Wish;
use crate::identity::{HOUR, UNKNOWN};
use crate::lone_hub::LoneHub;
use crate::lone_server::LoneServer;
use crate::patience::PATIENCE;
use crate::publisher::{Pace, Publishers};
use crate::run::take_turn;
use crate::subscriber::{Loyalty, Watching};
use crate::verdict::{Verdict, print_row};

/// Long enough for a hub to start and to be let in, on a machine that has much to do.
const SOON: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn credentials_replaced_let_in_a_hub_that_was_refused() {
    let (_turn, folder) = take_turn("identity: credentials replaced").await;
    let (operator, now) = (Operator::new(), SystemTime::now());
    let server = LoneServer::start(&folder, &operator.lets_in()).await;
    let (url, file) = (server.url(""), folder.join("hub.creds"));
    std::fs::write(&file, operator.user(now - HOUR).file).unwrap();
    let settings = [("NATS", &*url), ("NATS_CREDENTIALS", file.to_str().unwrap())];
    let hub = LoneHub::start(&folder, "hub", &settings).await;
    hub.is_refused(UNKNOWN).await;
    std::fs::write(&file, operator.user(now + HOUR).file).unwrap();
    hub.carries_events().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn an_nkey_replaced_lets_in_a_hub_that_was_refused() {
    let (_turn, folder) = take_turn("identity: nkey replaced").await;
    let [known, unknown] = [KeyPair::new_user(), KeyPair::new_user()];
    let lets_in = format!("authorization {{ users: [{{ nkey: {} }}] }}", known.public_key());
    let server = LoneServer::start(&folder, &lets_in).await;
    let (url, file) = (server.url(""), folder.join("nats.nk"));
    std::fs::write(&file, unknown.seed().unwrap()).unwrap();
    let settings = [("NATS", &*url), ("NATS_NKEY", file.to_str().unwrap())];
    let hub = LoneHub::start(&folder, "hub", &settings).await;
    hub.is_refused(UNKNOWN).await;
    std::fs::write(&file, known.seed().unwrap()).unwrap();
    hub.carries_events().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn credentials_that_expire_cut_a_hub_off_until_they_are_replaced() {
    let (_turn, folder) = take_turn("identity: credentials expire").await;
    let operator = Operator::new();
    let server = LoneServer::start(&folder, &operator.lets_in()).await;
    let (url, file) = (server.url(""), folder.join("hub.creds"));
    let user = operator.user(SystemTime::now() + SOON);
    std::fs::write(&file, &user.file).unwrap();
    let settings = [("NATS", &*url), ("NATS_CREDENTIALS", file.to_str().unwrap())];
    let hub = LoneHub::start(&folder, "hub", &settings).await;
    hub.is_ready().await;
    let watching = Watching::start(Arc::clone(&hub.urls), 0, Wish::All, Loyalty::Stays);
    watching.is_connected().await;
    let mut publishers = Publishers::new(Arc::clone(&hub.urls));
    publishers.start(Pace::STEADY);
    publishers.accepted(100).await;
    hub.is_refused("NATS says: nats: authorization violation").await;
    publishers.refused().await;
    std::fs::write(&file, operator.user(SystemTime::now() + HOUR).file).unwrap();
    hub.is_ready().await;
    publishers.accepted(100).await;
    hub.keeps_to_itself(&[&user.seed]).await;
    let ledger = publishers.finish().await;
    watching.is_complete(Instant::now() + PATIENCE).await;
    let records = [watching.record()];
    let verdict = Verdict::of(&ledger, &records);
    print_row("credentials that expire, and are replaced", &ledger, &records, &verdict);
    verdict.is_clean();
}
