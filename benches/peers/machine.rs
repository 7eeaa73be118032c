//! The machine: what it is called in a table, and whether it grants enough files. The bench `joined` has this file, too.

use std::fs;

use anyhow::bail;
use jiff::tz::TimeZone;

/// What a server or a client has open besides its subscribers.
const SPARE_FILES: u32 = 200;

/// Says now what would else come out in the midst of everything.
pub(crate) fn check_open_files(connections: Option<u32>) -> anyhow::Result<()> {
    let needed = connections.unwrap_or(0) + SPARE_FILES;
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    // "unlimited" is no number.
    let granted = line.and_then(|line| line.split_whitespace().next()?.parse::<u32>().ok());
    match granted {
        Some(granted) if granted < needed => {
            bail!(
                "needs {needed} open files, and a process may have {granted}: `ulimit -n {needed}`"
            )
        }
        Some(_) | None => Ok(()),
    }
}

/// Cores, processor, kernel and date, as they stand below a table.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = cpu_model().unwrap_or_else(|| "unknown processor".to_owned());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease");
    let kernel = kernel.map_or_else(|_| "?".to_owned(), |text| text.trim().to_owned());
    let today = jiff::Timestamp::now().to_zoned(TimeZone::UTC).date();
    format!("{cores} cores of {cpu}, Linux {kernel}, {today}")
}

fn cpu_model() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
