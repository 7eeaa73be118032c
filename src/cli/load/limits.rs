//! What the system grants this process, so that a run that cannot fit is refused before it begins.
//!
//! Linux tells under `/proc`; elsewhere, and if that cannot be read, nothing is known and nothing refused.

/// How many files and ports there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) open_files: u64,
    /// Of each address, towards one server.
    pub(super) ports: u64,
}

impl Limits {
    pub(super) fn of_this_process() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            open_files: open_files(&read("/proc/self/limits")).unwrap_or(u64::MAX),
            ports: ports(&read("/proc/sys/net/ipv4/ip_local_port_range")).unwrap_or(u64::MAX),
        }
    }
}

/// `Max open files            1024                 4096                 files`
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// `32768 60999`
fn ports(range: &str) -> Option<u64> {
    let mut bounds = range.split_whitespace().map(str::parse::<u64>);
    let (low, high) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
    Some((high + 1).saturating_sub(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_tells_is_read() {
        let limits = "Limit          Soft Limit  Hard Limit  Units\nMax open files            1024                 4096                 files\n";
        assert_eq!(open_files(limits), Some(1024));
        assert_eq!(open_files("Max open files  unlimited unlimited files"), None);
        assert_eq!(ports("32768\t60999\n"), Some(28_232));
        assert_eq!(ports(""), None);
    }
}
