//! A series as a handle of the [`metrics`] crate, which its user holds and writes into: no lock but a histogram's, no look for
//! a name.
//!
//! What is not finite is ignored. A handle is made for what its series is; as anything else it does nothing.

use metrics::{CounterFn, GaugeFn, HistogramFn};

use super::series::{Instrument, Series};
use crate::lock;

impl CounterFn for Series {
    fn increment(&self, value: u64) {
        if let Instrument::Counter(counter) = &self.instrument {
            counter.added.add_whole(value);
        }
    }

    fn absolute(&self, value: u64) {
        if let Instrument::Counter(counter) = &self.instrument {
            counter.added.raise(value as f64);
        }
    }
}

impl GaugeFn for Series {
    fn increment(&self, value: f64) {
        if let Instrument::Gauge(gauge) = &self.instrument
            && value.is_finite()
        {
            gauge.change(value);
        }
    }

    fn decrement(&self, value: f64) {
        GaugeFn::increment(self, -value);
    }

    fn set(&self, value: f64) {
        if let Instrument::Gauge(gauge) = &self.instrument
            && value.is_finite()
        {
            gauge.set(value);
        }
    }
}

impl HistogramFn for Series {
    fn record(&self, value: f64) {
        self.record_many(value, 1);
    }

    fn record_many(&self, value: f64, count: usize) {
        if let Instrument::Histogram(histogram) = &self.instrument
            && value.is_finite()
        {
            lock(histogram).observe_many(value, count as u64);
        }
    }
}
