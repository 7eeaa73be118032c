//! What becomes of what is published, by a server that knows of NATS only how to acknowledge.

use std::io;
use std::sync::Arc;

use async_nats::jetstream;
use ractor::Actor;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;
use crate::hub_core::HubCore;
use crate::transport::Transport;
use crate::transport::nats::NatsBroker;
use crate::transport::nats::forwarder::Forwarder;
use crate::transport::nats::place::StreamIds;
use crate::{HubConfig, NatsConfig};

const MAX_PAYLOAD: usize = 1024 * 1024;

const INFO: &str = r#"INFO {"server_id":"s","server_name":"s","version":"2.12.0","proto":1,"go":"","host":"127.0.0.1","port":4222,"headers":true,"max_payload":1048576,"client_id":1,"client_ip":""}"#;

fn link() -> Arc<Link> {
    Arc::new(Link::new(NatsConfig::default(), 64 * MAX_PAYLOAD))
}

fn offer(link: &Link, kind: &str) {
    let event = NewEvent::new(kind);
    let size = event.size();
    link.offer(vec![(Content::Given(event), size)]).unwrap();
}

/// Does something with a link whose stream looks at what is published, and acknowledges it or not.
async fn with_stream<T>(
    link: &Link,
    look: impl FnMut(&str) -> bool,
    test: impl Future<Output = T>,
) -> T {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = async {
        let (socket, _) = listener.accept().await.unwrap();
        acknowledge(socket, look).await
    };
    let test = async {
        let context = jetstream::new(async_nats::connect(address).await.unwrap());
        let (stream, ids) = ("T".into(), StreamIds::of("T", 0, None));
        link.meet(Session { context, stream, ids, max_payload: MAX_PAYLOAD });
        test.await
    };
    tokio::select! {
        result = test => result,
        ended = serve => panic!("the server has ended: {ended:?}"),
    }
}

async fn acknowledge(socket: TcpStream, mut look: impl FnMut(&str) -> bool) -> io::Result<()> {
    let (reader, mut writer) = socket.into_split();
    let mut reader = BufReader::new(reader);
    writer.write_all(format!("{INFO}\r\n").as_bytes()).await?;
    let (mut line, mut inbox, mut sequence) = (String::new(), String::new(), 0);
    while reader.read_line(&mut line).await? > 0 {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["PING"] => writer.write_all(b"PONG\r\n").await?,
            ["SUB", _, id] => inbox = id.to_owned(),
            ["HPUB", _, reply, _, bytes] => {
                let mut message = vec![0; bytes.parse::<usize>().unwrap() + 2];
                reader.read_exact(&mut message).await?;
                if look(str::from_utf8(&message).unwrap()) {
                    sequence += 1;
                    let answer = format!(r#"{{"stream":"T","seq":{sequence}}}"#);
                    let answer = format!("MSG {reply} {inbox} {}\r\n{answer}\r\n", answer.len());
                    writer.write_all(answer.as_bytes()).await?;
                }
            }
            _ => {}
        }
        line.clear();
    }
    Ok(())
}

#[tokio::test]
async fn what_is_offered_without_end_is_published_message_by_message_and_nothing_fails() {
    let link = link();
    let more = |_: &str| {
        offer(&link, "a");
        true
    };
    offer(&link, "a");
    let forward = async {
        for _ in 0..100 {
            link.forward().await;
        }
    };
    with_stream(&link, more, forward).await;
    assert_eq!((link.counters.published.get(), link.counters.failed.get()), (100, 0));
}

#[tokio::test]
async fn what_a_forwarder_had_in_hand_its_successor_publishes_under_the_same_id() {
    let link = link();
    let seen = watch::Sender::new(Vec::new());
    // Only what comes again is acknowledged.
    let look = |message: &str| {
        let id = message.lines().find(|line| line.starts_with("Nats-Msg-Id")).unwrap();
        seen.send_modify(|ids| ids.push(id.to_owned()));
        seen.borrow().len() > 1
    };
    let start = async || Forwarder::spawn(None, Forwarder, Arc::clone(&link)).await.unwrap();
    let restart = async {
        let (first, ended) = start().await;
        offer(&link, "a");
        seen.subscribe().wait_for(|ids| ids.len() == 1).await.unwrap();
        first.kill();
        ended.await.unwrap();
        assert!(link.room.available_permits() < link.room_bytes);
        let (second, ended) = start().await;
        drop(link.room.acquire_many(u32::try_from(link.room_bytes).unwrap()).await.unwrap());
        second.kill();
        ended.await.unwrap();
    };
    with_stream(&link, look, restart).await;
    let ids = seen.borrow();
    assert!(ids.len() == 2 && ids[0] == ids[1], "{ids:?}");
    assert!(!link.has_offers());
    assert_eq!((link.counters.published.get(), link.counters.failed.get()), (1, 0));
}

#[tokio::test]
async fn what_another_has_let_go_is_let_go_once() {
    let link = link();
    offer(&link, "a");
    let Pending { id, .. } = link.next_pending(MAX_PAYLOAD).unwrap();
    link.let_go(&id);
    offer(&link, "b");
    link.next_pending(MAX_PAYLOAD).unwrap();
    link.let_go(&id);
    assert!(link.has_offers());
}

/// The hub of a link, which looks to it for what is lost.
fn hub_of(link: &Arc<Link>) -> Arc<HubCore> {
    let transport = Transport::Broker(Arc::new(NatsBroker(Arc::clone(link))));
    let core = Arc::new(HubCore::joined(HubConfig::default(), transport));
    link.core.set(Arc::downgrade(&core)).unwrap();
    core
}

/// In memory it has a fifth of what a message may have, as a message more.
fn of_escapes() -> NewEvent {
    NewEvent::new("large").text(&"\u{1b}".repeat(MAX_PAYLOAD / 5))
}

#[tokio::test]
async fn what_has_no_room_in_a_message_is_not_taken() {
    let link = link();
    let core = hub_of(&link);
    let try_it = async {
        let event = of_escapes();
        let broker = core.broker().unwrap();
        let error = broker.check_event(&event).unwrap_err();
        assert!(matches!(error, IngestError::EventTooLarge { bytes, .. } if bytes > MAX_PAYLOAD));
        let offered = link.offer(vec![(Content::Given(event), 1_000_000)]);
        assert_eq!(offered, Err(error));
        let long = Measurement::histogram("h", vec![0.123_456_789; MAX_PAYLOAD / 10]);
        assert!(matches!(
            broker.check_measurement(&long),
            Err(MeasurementError::TooLarge { bytes, .. }) if bytes > MAX_PAYLOAD
        ));
    };
    with_stream(&link, |_| true, try_it).await;
    assert_eq!(link.room.available_permits(), link.room_bytes);
}

#[tokio::test]
async fn what_was_taken_and_has_no_room_in_a_message_is_counted_and_told() {
    let link = link();
    let core = hub_of(&link);
    // Nobody knows yet how large a message may be.
    let size = of_escapes().size();
    link.offer(vec![(Content::Given(of_escapes()), size)]).unwrap();
    offer(&link, "small");
    let mut published = String::new();
    let forward = async {
        link.forward().await;
        assert_eq!(core.stats().dropped, 1);
        assert!(core.tell_dropped());
        link.forward().await;
    };
    let look = |message: &str| {
        published.push_str(message);
        true
    };
    with_stream(&link, look, forward).await;
    assert!(published.contains(r#"{"type":"small"}"#), "{published}");
    assert!(published.contains(r#""data":{"dropped":1}"#), "{published}");
    assert_eq!((core.stats().dropped, link.counters.published.get()), (1, 2));
    assert_eq!(link.room.available_permits(), link.room_bytes);
}

#[test]
fn what_would_tell_of_lost_events_is_told_no_more_if_it_is_lost_itself() {
    let link = link();
    let core = hub_of(&link);
    core.lose_events(3);
    assert!(core.tell_dropped());
    // A message may be smaller than any event.
    let (messages, _) = link.encode_offered(10);
    assert_eq!((messages.len(), link.counters.failed.get()), (0, 1));
    assert!(core.tell_dropped());
    assert_eq!((core.stats().dropped, lock(&link.offered).len()), (3, 0));
}

#[tokio::test]
async fn what_is_left_at_the_end_is_counted() {
    let link = link();
    let core = hub_of(&link);
    offer(&link, "a");
    link.next_pending(MAX_PAYLOAD).unwrap();
    offer(&link, "b");
    link.offer_measurement(Measurement::gauge("g", 1.0)).unwrap();
    link.settled().await;
    assert_eq!((core.stats().dropped, core.counters.measurements_refused.get()), (2, 1));
}
