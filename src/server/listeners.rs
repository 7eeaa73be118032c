//! Where a server listens: on addresses of its settings, or on sockets that were open when it was started.

use std::io;
use std::net::SocketAddr;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};

use super::ServerError;
use crate::config::{Listen, Settings};
use crate::error_chain::error_chain;

/// How much the system may hold of what a client has not read yet. It would be megabytes, in which a client that does not read
/// could hide for minutes: what waits is to wait in the hub, where it is counted. With this much under way, a client a tenth of
/// a second away still gets two megabytes a second.
const SEND_BUFFER_BYTES: u32 = 256 * 1024;

/// How many connections may wait to be accepted: as many as come at once when a server is started anew. The system's own limit
/// may be lower.
const BACKLOG: u32 = 4096;

#[derive(Debug)]
pub(super) struct Listeners {
    /// For everything.
    pub(super) hub: TcpListener,
    pub(super) address: SocketAddr,
    /// Where only OTLP is taken: over HTTP, over gRPC, or each over both.
    pub(super) otlp: [Option<TcpListener>; 2],
}

impl Listeners {
    /// Listens where the settings say.
    pub(super) fn bind(settings: &Settings) -> Result<Self, ServerError> {
        let [http, grpc] = settings.otlp_listen();
        let (hub, address) = listen(settings.listen)?;
        Ok(Self { hub, address, otlp: [listen_besides(http)?, listen_besides(grpc)?] })
    }

    /// Takes sockets that listen already, the hub's own first; None if there are none.
    pub(super) fn adopt(sockets: Vec<std::net::TcpListener>) -> io::Result<Option<Self>> {
        let mut sockets = sockets.into_iter().map(|socket| {
            socket.set_nonblocking(true)?;
            // What is accepted has what its listener has.
            SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER_BYTES as usize)?;
            TcpListener::from_std(socket)
        });
        let Some(hub) = sockets.next().transpose()? else {
            return Ok(None);
        };
        let address = hub.local_addr()?;
        let otlp = [sockets.next().transpose()?, sockets.next().transpose()?];
        Ok(Some(Self { hub, address, otlp }))
    }

    /// The addresses on which OTLP is taken besides.
    pub(super) fn otlp_addresses(&self) -> [Option<SocketAddr>; 2] {
        let [http, grpc] = &self.otlp;
        let address = |listener: &Option<TcpListener>| listener.as_ref()?.local_addr().ok();
        [address(http), address(grpc)]
    }

    /// An address that can be reached from other machines, if there is one.
    pub(super) fn exposed(&self) -> Option<SocketAddr> {
        let mut all = [Some(self.address)].into_iter().chain(self.otlp_addresses()).flatten();
        all.find(|address| !address.ip().is_loopback())
    }
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServerError> {
    let cannot_bind = |source| ServerError::Bind { address, source };
    let listener = open(address).map_err(cannot_bind)?;
    let address = listener.local_addr().map_err(cannot_bind)?;
    Ok((listener, address))
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Listens where OTLP is expected. A port that nobody asked for may well be another collector's: the hub's own takes OTLP, too.
fn listen_besides(listen_at: Option<Listen>) -> Result<Option<TcpListener>, ServerError> {
    let Some(Listen { address, is_wanted }) = listen_at else {
        return Ok(None);
    };
    match listen(address) {
        Ok((listener, _)) => Ok(Some(listener)),
        Err(error) if is_wanted => Err(error),
        Err(error) => {
            tracing::warn!("{}; OTLP is taken on the hub's own port", error_chain(&error));
            Ok(None)
        }
    }
}
