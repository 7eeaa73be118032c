//! A TCP proxy that breaks as networks do: between a hub and a NATS server, or on a route between two of these.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::patience::pause;

/// What the link does with what is sent over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// Passes it on.
    Open,
    /// Breaks every connection, and takes no new one.
    Cut,
    /// Takes connections, and passes nothing on until it is open again, either way.
    BlackHole,
    /// As a black hole, but only for what the server says: requests go through, their answers do not.
    NoReplies,
    /// Keeps each piece for so long, and passes on so many bytes in a second.
    Slow(Duration, u32),
}

/// One link. Dropped, it breaks all connections.
#[derive(Debug)]
pub(crate) struct Proxy {
    link: watch::Sender<Link>,
    _accepting: JoinSet<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Requests,
    Replies,
}

impl Proxy {
    /// Listens at one port for what listens at the other.
    pub(crate) async fn start(port: u16, server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let link = watch::Sender::new(Link::Open);
        let mut accepting = JoinSet::new();
        let server = SocketAddr::from(([127, 0, 0, 1], server));
        accepting.spawn(accept(listener, server, link.subscribe()));
        Self { link, _accepting: accepting }
    }

    pub(crate) fn set(&self, link: Link) {
        self.link.send_replace(link);
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, link: watch::Receiver<Link>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        // No descriptor is free, or the client has gone already: its own affair.
        let Ok((client, _)) = listener.accept().await else { continue };
        if *link.borrow() != Link::Cut {
            connections.spawn(pass(client, server, link.clone()));
        }
    }
}

/// Carries one connection, to its end or until the link is cut.
async fn pass(client: TcpStream, server: SocketAddr, mut link: watch::Receiver<Link>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let requests = pump(Direction::Requests, from_client, to_server, link.clone());
    let replies = pump(Direction::Replies, from_server, to_client, link.clone());
    tokio::select! {
        () = requests => {}
        () = replies => {}
        _ = link.wait_for(|link| *link == Link::Cut) => {}
    }
}

/// Passes on what comes, until either side ends.
async fn pump(
    direction: Direction,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut link: watch::Receiver<Link>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let Ok(now) = link.wait_for(|link| link.lets_through(direction)).await.map(|now| *now)
        else {
            return;
        };
        if let Link::Slow(delay, rate) = now {
            pause(delay + Duration::from_secs(1) * u32::try_from(length).unwrap() / rate).await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

impl Link {
    fn lets_through(self, direction: Direction) -> bool {
        match self {
            Self::Open | Self::Slow(..) => true,
            Self::Cut | Self::BlackHole => false,
            Self::NoReplies => direction == Direction::Requests,
        }
    }
}

/// Sets all of them.
pub(crate) fn set_all<'a>(links: impl IntoIterator<Item = &'a Arc<Proxy>>, link: Link) {
    links.into_iter().for_each(|proxy| proxy.set(link));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patience::within_patience;
    use crate::ports::free_port;

    /// A proxy before a server that says everything again, and a client of it.
    async fn echo() -> (Proxy, u16, TcpStream, JoinSet<()>) {
        let (port, server) = (free_port().await, free_port().await);
        let listener = TcpListener::bind(("127.0.0.1", server)).await.unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (mut from, mut to) = stream.split();
                // Either side may be gone.
                tokio::io::copy(&mut from, &mut to).await.ok();
            }
        });
        let proxy = Proxy::start(port, server).await;
        let client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        (proxy, port, client, serving)
    }

    async fn answer(client: &mut TcpStream) -> Option<u8> {
        within_patience("an answer or an end", client.read_u8()).await.ok()
    }

    #[tokio::test]
    async fn what_was_held_back_comes_when_the_link_is_open() {
        for held in [Link::BlackHole, Link::NoReplies, Link::Slow(Duration::from_millis(5), 1_000)]
        {
            let (proxy, _, mut client, _serving) = echo().await;
            client.write_u8(1).await.unwrap();
            assert_eq!(answer(&mut client).await, Some(1));
            proxy.set(held);
            client.write_u8(2).await.unwrap();
            let early = tokio::time::timeout(Duration::from_millis(50), client.read_u8()).await;
            assert_eq!(early.is_ok(), matches!(held, Link::Slow(..)), "{held:?}");
            proxy.set(Link::Open);
            if early.is_err() {
                assert_eq!(answer(&mut client).await, Some(2));
            }
        }
    }

    #[tokio::test]
    async fn a_link_that_is_cut_ends_connections_and_takes_none() {
        let (proxy, port, mut client, _serving) = echo().await;
        proxy.set(Link::Cut);
        assert_eq!(answer(&mut client).await, None);
        let mut late = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        assert_eq!(answer(&mut late).await, None);
        proxy.set(Link::Open);
        let mut back = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        back.write_u8(3).await.unwrap();
        assert_eq!(answer(&mut back).await, Some(3));
    }
}
