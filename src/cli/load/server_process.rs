//! What the server costs: the CPU time and the memory of its processes, as Linux tells under `/proc`.
//!
//! A server may be several processes that share a socket, as nginx is, and several servers may be loaded at once: they are taken
//! together. Where there is no `/proc`, or a server is on another machine, there is nothing to tell, and the report leaves it out.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// The unit of times in `/proc/PID/stat`: a hundredth of a second, on every architecture that Linux has today.
const TICK: Duration = Duration::from_millis(10);

/// Processes, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// User and system time of all threads, since the process began: of each process.
    pub(super) cpu: Vec<Duration>,
    /// Resident bytes of all. What several processes share is counted in each.
    pub(super) resident: u64,
}

/// The processes of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Processes(pub(super) Vec<u32>);

impl Processes {
    /// This very process.
    pub(super) fn own() -> Self {
        Self(vec![std::process::id()])
    }

    /// Those that listen at these addresses. None if those at any of them are not on this machine, not ours to look at, or this
    /// very process.
    pub(super) fn listening_at(addresses: impl Iterator<Item = SocketAddr>) -> Self {
        let mut pids = BTreeSet::new();
        for address in addresses {
            let found = if address.ip().is_loopback() { listening_at(address) } else { vec![] };
            if found.is_empty() {
                return Self(vec![]);
            }
            pids.extend(found);
        }
        Self(pids.into_iter().collect())
    }

    /// `None` if there are none, or one is gone: then a sum would be a wrong one.
    pub(super) fn usage(&self) -> Option<Usage> {
        let mut usage = Usage::default();
        for pid in &self.0 {
            usage.cpu.push(cpu_time(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?);
            usage.resident += resident(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)?;
        }
        (!self.0.is_empty()).then_some(usage)
    }
}

fn listening_at(address: SocketAddr) -> Vec<u32> {
    let mut sockets = BTreeSet::new();
    for (path, parse) in
        [("/proc/net/tcp", ipv4 as fn(&str) -> Option<IpAddr>), ("/proc/net/tcp6", ipv6)]
    {
        let table = fs::read_to_string(path).unwrap_or_default();
        sockets.extend(listeners(&table, address, parse));
    }
    let mut pids = if sockets.is_empty() { Vec::new() } else { owners(&sockets) };
    pids.retain(|pid| *pid != std::process::id());
    pids
}

/// The inodes of sockets that listen at an address, or at all of its port.
fn listeners(table: &str, address: SocketAddr, parse: fn(&str) -> Option<IpAddr>) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let listener = |line: &str| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?.parse().ok()?;
        let (ip, port) = local.split_once(':')?;
        let (ip, port) = (parse(ip)?, u16::from_str_radix(port, 16).ok()?);
        let is_it = port == address.port() && (ip == address.ip() || ip.is_unspecified());
        (state == LISTEN && is_it).then_some(inode)
    };
    table.lines().skip(1).filter_map(listener).collect()
}

/// The kernel writes each 32 bits of an address as the number that they are in memory.
fn words(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for at in (0..text.len()).step_by(8) {
        let word = u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    Some(bytes)
}

fn ipv4(text: &str) -> Option<IpAddr> {
    let bytes: [u8; 4] = words(text)?.try_into().ok()?;
    Some(Ipv4Addr::from(bytes).into())
}

fn ipv6(text: &str) -> Option<IpAddr> {
    let bytes: [u8; 16] = words(text)?.try_into().ok()?;
    Some(Ipv6Addr::from(bytes).to_canonical())
}

/// The processes that hold one of these sockets. Those of other users cannot be looked into.
fn owners(sockets: &BTreeSet<u64>) -> Vec<u32> {
    let holds_one = |pid: &u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.into_iter().any(|file| {
            let link = fs::read_link(file.path()).unwrap_or_default();
            let inode =
                link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']'));
            inode.and_then(|inode| inode.parse().ok()).is_some_and(|inode| sockets.contains(&inode))
        })
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(holds_one).collect()
}

/// The 14th and the 15th field, counted behind the name, which may hold anything.
fn cpu_time(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(TICK * user + TICK * system)
}

/// `VmRSS:     12345 kB`
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0 1 0 0";
        assert_eq!(cpu_time(stat), Some(Duration::from_millis(1750)));
        assert_eq!(resident("Name:\tx\nVmRSS:\t   12 kB\n"), Some(12_288));
    }

    #[cfg(all(target_os = "linux", target_endian = "little"))]
    #[test]
    fn listeners_are_found_in_the_tables() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:2253 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0 0 10 0\n\
            1: 00000000:2253 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0 100 0 0 10 0\n\
            2: 0200007F:2253 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 13 1 0 100 0 0 10 0\n\
            3: 0100007F:2253 0100007F:9000 01 00000000:00000000 00:00000000 00000000     0        0 14 1 0 100 0 0 10 0\n\
            4: 0100007F:2254 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 15 1 0 100 0 0 10 0\n";
        assert_eq!(listeners(table, "127.0.0.1:8787".parse().unwrap(), ipv4), [11, 12]);
        let table = "head\n\
            0: 00000000000000000000000001000000:2253 0:0 0A 0:0 00:0 0     0        0 16 1 0\n\
            1: 00000000000000000000000000000000:2253 0:0 0A 0:0 00:0 0     0        0 17 1 0\n\
            2: 0000000000000000FFFF00000100007F:2253 0:0 0A 0:0 00:0 0     0        0 18 1 0\n";
        assert_eq!(listeners(table, "[::1]:8787".parse().unwrap(), ipv6), [16, 17]);
        assert_eq!(listeners(table, "127.0.0.1:8787".parse().unwrap(), ipv6), [17, 18]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_seen_but_is_no_server() {
        let usage = Processes::own().usage().unwrap();
        assert!(usage.resident > 1 << 20);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = [listener.local_addr().unwrap()].into_iter();
        assert_eq!(Processes::listening_at(addresses), Processes(vec![]));
        assert_eq!(Processes(vec![]).usage(), None);
    }
}
