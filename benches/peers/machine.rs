//! The machine that a table is of, and the day.

use std::fs;

use jiff::tz::TimeZone;

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
