//! What becomes of what is published, by a server that knows of NATS only how to acknowledge.

use std::io;
use std::sync::Arc;

use async_nats::jetstream;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::NatsConfig;
use crate::transport::nats::place::StreamIds;

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

/// Does something with a link whose stream takes what is published, each message once it has been looked at.
async fn with_stream<T>(link: &Link, look: impl FnMut(&str), test: impl Future<Output = T>) -> T {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = async {
        let (socket, _) = listener.accept().await.unwrap();
        acknowledge(socket, look).await
    };
    let test = async {
        let context = jetstream::new(async_nats::connect(address).await.unwrap());
        link.meet(Session { context, ids: StreamIds::of("T", 0), max_payload: MAX_PAYLOAD });
        test.await
    };
    tokio::select! {
        result = test => result,
        ended = serve => panic!("the server has ended: {ended:?}"),
    }
}

async fn acknowledge(socket: TcpStream, mut look: impl FnMut(&str)) -> io::Result<()> {
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
                look(str::from_utf8(&message).unwrap());
                sequence += 1;
                let answer = format!(r#"{{"stream":"T","seq":{sequence}}}"#);
                let answer = format!("MSG {reply} {inbox} {}\r\n{answer}\r\n", answer.len());
                writer.write_all(answer.as_bytes()).await?;
            }
            _ => {}
        }
        line.clear();
    }
    Ok(())
}

#[tokio::test]
async fn what_is_offered_without_end_is_published_for_a_moment_and_nothing_fails() {
    let link = link();
    offer(&link, "a");
    let forwarded = with_stream(&link, |_| offer(&link, "a"), link.forward()).await;
    assert_eq!(forwarded, Ok(()));
    assert!(link.counters.published.get() > 0);
    assert_eq!(link.counters.failed.get(), 0);
}
