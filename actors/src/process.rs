//! What this process costs: its memory and its time on the processor, as the operating system tells.

use std::sync::Mutex;
use std::time::Duration;

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use tokio::time::Instant;

use crate::lock;

/// How old a reading may be: asking takes some 50 µs, and several samplers may ask at once.
const FRESH: Duration = Duration::from_millis(100);

/// This process at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ProcessReading {
    /// Resident bytes.
    pub(crate) memory: u64,
    /// Cores kept busy since the reading before: 1.0 is all of one.
    pub(crate) cpu: f64,
    pub(crate) uptime: Duration,
}

/// Reads this process, for all who ask.
#[derive(Debug)]
pub(crate) struct ProcessProbe {
    started: Instant,
    state: Mutex<ProbeState>,
}

#[derive(Debug)]
struct ProbeState {
    system: System,
    pid: Option<Pid>,
    read_at: Instant,
    cpu_time: Duration,
    reading: ProcessReading,
}

impl ProcessProbe {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        let mut state = ProbeState {
            system: System::new(),
            pid: sysinfo::get_current_pid().ok(),
            read_at: now,
            cpu_time: Duration::ZERO,
            reading: ProcessReading::default(),
        };
        state.refresh(now);
        Self { started: now, state: Mutex::new(state) }
    }

    pub(crate) fn read(&self) -> ProcessReading {
        let mut state = lock(&self.state);
        let now = Instant::now();
        if now - state.read_at >= FRESH {
            state.refresh(now);
        }
        ProcessReading { uptime: now - self.started, ..state.reading }
    }
}

impl ProbeState {
    fn refresh(&mut self, now: Instant) {
        let Some(pid) = self.pid else {
            return;
        };
        let what = ProcessRefreshKind::nothing().with_memory().with_cpu();
        self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, what);
        let Some(process) = self.system.process(pid) else {
            return;
        };
        let cpu_time = Duration::from_millis(process.accumulated_cpu_time());
        let elapsed = (now - self.read_at).as_secs_f64();
        if elapsed > 0.0 {
            let busy = cpu_time.saturating_sub(self.cpu_time);
            self.reading.cpu = busy.as_secs_f64() / elapsed;
        }
        self.reading.memory = process.memory();
        self.cpu_time = cpu_time;
        self.read_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_process_does_is_seen() {
        let probe = ProcessProbe::new();
        let begin = Instant::now();
        let mut work = 0_u64;
        while probe.read().cpu == 0.0 && begin.elapsed() < Duration::from_secs(30) {
            work = std::hint::black_box(work.wrapping_add(1));
        }
        let reading = probe.read();
        assert!(reading.cpu > 0.0, "{reading:?}");
        assert!(reading.memory > 1 << 20, "{reading:?}");
        assert!(reading.uptime > Duration::ZERO, "{reading:?}");
    }
}
