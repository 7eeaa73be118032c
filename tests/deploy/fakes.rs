//! What stands where hubs would stand, and notes which requests reach it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What becomes of a request that has been read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Taken,
    /// 503, as of a hub that has no room or is about to end.
    Unavailable,
    /// The connection ends, and nobody knows whether it was taken.
    Lost,
    /// The first of a connection is taken, the second lost.
    LostIfSecond,
}

/// Of the requests that have come, in their order.
type Bodies = Arc<Mutex<Vec<String>>>;

/// It ends with this value.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    bodies: Bodies,
    _serving: JoinSet<()>,
}

impl Fake {
    pub(crate) async fn start(fate: Fate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, bodies) = (listener.local_addr().unwrap(), Bodies::default());
        let (mut serving, noted) = (JoinSet::new(), Arc::clone(&bodies));
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(serve(socket, fate, Arc::clone(&noted)));
            }
        });
        Self { address, bodies, _serving: serving }
    }

    /// The bodies of all that have reached it; questions of the proxy's own do not count.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.bodies.lock().unwrap().clone()
    }
}

async fn serve(socket: TcpStream, fate: Fate, bodies: Bodies) {
    let mut socket = BufReader::new(socket);
    for earlier in 0.. {
        let Some((head, body)) = read_request(&mut socket).await else { return };
        let is_check = head.starts_with("get /readyz ");
        if !is_check {
            bodies.lock().unwrap().push(body);
        }
        let fate = if is_check { Fate::Taken } else { fate };
        let status = match fate {
            Fate::Lost => return,
            Fate::LostIfSecond if earlier > 0 => return,
            Fate::Taken | Fate::LostIfSecond => "200 OK",
            Fate::Unavailable => "503 Service Unavailable\r\nretry-after: 7",
        };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
        if socket.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Reads one to its end: its head in lower case, and its body. None at the end of the connection.
async fn read_request(socket: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if socket.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    Some((head, String::from_utf8(body).unwrap()))
}
