//! A client that watches metrics, and checks that what only grows does.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc;

use super::frames::Frames;
use super::journal::Journal;
use super::journal::pause;
use crate::harness::within_patience;

pub(super) struct MetricsSubscriber {
    pub(super) url: String,
    /// One of so many as there are samplers.
    pub(super) interval: &'static str,
    /// Whether it stops reading between frames.
    pub(super) stalls: bool,
    pub(super) journal: Arc<Journal>,
}

impl MetricsSubscriber {
    /// Watches until the hub says that it shuts down. Checks in at a frame that comes when nothing breaks any more. Returns how many
    /// frames it was sent.
    pub(super) async fn watch(self, check_in: mpsc::Sender<()>) -> u64 {
        let mut check_in = Some(check_in);
        let client = reqwest::Client::builder();
        let client = if self.stalls { client.http2_prior_knowledge() } else { client };
        let client = client.build().unwrap();
        let url = format!("{}/api/telemetry/metrics/live?interval={}", self.url, self.interval);
        let (mut count, mut received) = (0, 0.0);
        loop {
            let Ok(mut response) = within_patience(client.get(&url).send()).await else {
                panic!("the server goes on until it has said goodbye");
            };
            assert_eq!(response.status(), 200);
            let mut frames = Frames::default();
            while let Ok(Some(bytes)) = within_patience(response.chunk()).await {
                for frame in frames.push(&bytes) {
                    match frame.event.as_str() {
                        "metrics" => {
                            let now = value(&frame.data, "hub.events.received");
                            assert!(now >= received, "a total falls from {received} to {now}");
                            (received, count) = (now, count + 1);
                            if self.journal.is_ending() {
                                drop(check_in.take());
                            }
                        }
                        "bye" => {
                            assert!(frame.data.contains("shutdown"), "{}", frame.data);
                            return count;
                        }
                        _ => {}
                    }
                }
                if self.stalls {
                    let time = std::time::Duration::from_secs(1);
                    pause(time, &self.journal).await;
                }
            }
        }
    }
}

fn value(data: &str, series: &str) -> f64 {
    let samples: Value = serde_json::from_str(data).unwrap();
    let mut samples = samples.as_array().unwrap().iter();
    samples.find(|sample| sample["id"] == series).unwrap()["value"].as_f64().unwrap()
}
