//! Which publisher sends which event when, and for whom. Pure: known before the run, whatever the server does.
//!
//! The load is open: the times stand fixed, and an event that leaves late because the server answers slowly is still measured
//! from the time at which it should have left. Publishers take turns, so that together they are as even as one would be.

use std::time::Duration;

/// The plan of all events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    pub(super) publishers: u32,
    /// Events in one POST.
    pub(super) batch: u32,
    /// Events a second, all publishers together.
    pub(super) rate: f64,
    pub(super) duration: Duration,
    /// How many filters there are, each with events of its own; 1 if everybody gets everything.
    pub(super) filters: u32,
}

impl Schedule {
    /// How many POSTs begin within the duration.
    fn batches(&self) -> u64 {
        let exact = self.rate * self.duration.as_secs_f64() / f64::from(self.batch);
        // A product of decimal fractions may be a hair over the whole number that was meant.
        (exact - 1e-6).ceil().max(0.0) as u64
    }

    /// How many of them are this publisher's.
    pub(super) fn batches_of(&self, publisher: u32) -> u32 {
        let (batches, publishers) = (self.batches(), u64::from(self.publishers));
        let own = (batches + publishers - 1).saturating_sub(u64::from(publisher)) / publishers;
        u32::try_from(own)
            .expect("the caps of rate and duration keep all sequence numbers in 32 bits")
    }

    /// How many events there are.
    pub(super) fn events(&self) -> u64 {
        self.batches() * u64::from(self.batch)
    }

    /// When a publisher's POST is to be sent, counted from the first.
    pub(super) fn intended(&self, publisher: u32, batch: u32) -> Duration {
        let turn = u64::from(batch) * u64::from(self.publishers) + u64::from(publisher);
        Duration::from_secs_f64(turn as f64 * f64::from(self.batch) / self.rate)
    }

    /// The filter that an event is meant for. Round robin, each publisher beginning elsewhere.
    pub(super) fn target(&self, publisher: u32, sequence: u32) -> u32 {
        let filters = u64::from(self.filters);
        let begin = u64::from(publisher) * filters / u64::from(self.publishers);
        ((u64::from(sequence) + begin) % filters) as u32
    }

    /// The place of an event among those that its publisher has for the same filter: these have the ranks 0, 1, 2 …
    pub(super) fn rank(&self, sequence: u32) -> u32 {
        sequence / self.filters
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedule(publishers: u32, batch: u32, rate: f64, milliseconds: u64) -> Schedule {
        let duration = Duration::from_millis(milliseconds);
        Schedule { publishers, batch, rate, duration, filters: 1 }
    }

    #[test]
    fn publishers_take_turns() {
        let schedule = schedule(3, 2, 20.0, 1000);
        assert_eq!(schedule.events(), 20);
        assert_eq!([0, 1, 2].map(|publisher| schedule.batches_of(publisher)), [4, 3, 3]);
        let at = |publisher, batch| schedule.intended(publisher, batch).as_millis();
        assert_eq!([at(0, 0), at(1, 0), at(2, 0), at(0, 1), at(0, 3)], [0, 100, 200, 300, 900]);
    }

    #[test]
    fn all_that_begins_within_the_duration_is_sent() {
        for (rate, milliseconds, events) in
            [(100.0, 5000, 500), (0.3, 10_000, 3), (1.0, 500, 1), (3.0, 1100, 4), (0.0, 5000, 0)]
        {
            assert_eq!(
                schedule(1, 1, rate, milliseconds).events(),
                events,
                "{rate} {milliseconds}"
            );
        }
        let largest = schedule(1, 1, 1e6, 3_600_000);
        assert_eq!(u64::from(largest.batches_of(0)), largest.events());
    }

    proptest! {
        #[test]
        fn no_event_is_forgotten(publishers in 1_u32..9, batch in 1_u32..9, rate in 1.0..500.0, ms in 1_u64..3000) {
            let schedule = schedule(publishers, batch, rate, ms);
            let batches: u64 = (0..publishers).map(|p| u64::from(schedule.batches_of(p))).sum();
            prop_assert_eq!(batches * u64::from(batch), schedule.events());
            for publisher in 0..publishers {
                if let Some(last) = schedule.batches_of(publisher).checked_sub(1) {
                    prop_assert!(schedule.intended(publisher, last) < schedule.duration);
                }
            }
        }

        #[test]
        fn ranks_count_the_events_of_a_filter(publishers in 1_u32..9, filters in 1_u32..50, events in 1_u32..300) {
            let schedule = Schedule { filters, ..schedule(publishers, 1, 1.0, 1) };
            for publisher in 0..publishers {
                let mut seen = vec![0; filters as usize];
                for sequence in 0..events {
                    let target = schedule.target(publisher, sequence) as usize;
                    prop_assert_eq!(schedule.rank(sequence), seen[target]);
                    seen[target] += 1;
                }
                prop_assert!(seen.iter().all(|count| count.abs_diff(events / filters) <= 1));
            }
        }
    }
}
