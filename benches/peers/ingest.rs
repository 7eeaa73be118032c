//! Taking events in while nobody listens, beside what `serde_json` alone needs for the same lines, both in processor time.
//!
//! A client that only publishes, one POST after the other: nothing is timed here but the server's own work. Half of the POSTs come
//! before the measurement, to fill the replay buffer: what a server costs that has been running, not what a virtual machine takes
//! to hand out memory that nobody has touched (a third and more of the first 120,000 events).

use std::fs;
use std::hint::black_box;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::figures::{Figure, Outcome};
use crate::loads::Scene;
use crate::servers::Server;

/// What Linux counts processor time in, whatever its own clock (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// How often `serde_json` reads all lines of a POST: enough for the caches to be warm, some tenths of a second.
const ROUNDS: u32 = 4000;

/// Publishes the scene's events, and reads the same lines here.
pub(crate) async fn drive(scene: &Scene, server: &Server) -> anyhow::Result<Outcome> {
    let lines: Vec<_> = (0..scene.batch).map(line).collect();
    let posts = scene.posts();
    let (client, body) = (reqwest::Client::new(), lines.join("\n"));
    let pid = server.pid().context("the server has ended")?;
    let mut begin = 0.0;
    for number in 0..2 * posts {
        if number == posts {
            begin = of_process(pid)?;
        }
        let request = client.post(&server.publish_url).body(body.clone());
        let request = request.header("Content-Type", "application/x-ndjson");
        let answer = request.send().await?.error_for_status()?.text().await?;
        let accepted = serde_json::from_str::<Value>(&answer)?["accepted"].as_u64();
        ensure!(accepted == Some(scene.batch.into()), "not all was accepted: {answer}");
    }
    let events = f64::from(posts) * f64::from(scene.batch);
    let server_cpu = (of_process(pid)? - begin) / events;
    Ok(Outcome::from([(Figure::CpuPerEvent, server_cpu), (Figure::JsonPerEvent, of_json(&lines)?)]))
}

/// An event of 200 bytes.
fn line(number: u32) -> String {
    let event = format!(
        r#"{{"type":"auth.failed","level":"WARN","text":"event {number:06} of this load","data":{{"remoteIp":"10.0.{}.{}","accountName":"user-{number:06x}@example.org","detail":""#,
        number / 256 % 256,
        number % 256,
    );
    format!(r#"{event:x<197}"}}}}"#)
}

/// Seconds of processor time to parse one line.
fn of_json(lines: &[String]) -> anyhow::Result<f64> {
    let begin = of_this_thread()?;
    for line in (0..ROUNDS).flat_map(|_| lines) {
        let value: Value = serde_json::from_slice(black_box(line.as_bytes()))?;
        black_box(value);
    }
    Ok((of_this_thread()? - begin) / (f64::from(ROUNDS) * lines.len() as f64))
}

/// The seconds that a process has been on a processor.
fn of_process(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name before may hold anything, but after its last bracket come numbers: user and system time are the 12th and 13th.
    let (_, fields) = text.rsplit_once(')').with_context(|| format!("{path} says {text:?}"))?;
    let ticks: f64 = fields.split_whitespace().skip(11).take(2).flat_map(str::parse::<f64>).sum();
    Ok(ticks / TICKS_PER_SECOND)
}

/// The same of this thread.
fn of_this_thread() -> anyhow::Result<f64> {
    let path = "/proc/thread-self/schedstat";
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse::<f64>().ok());
    Ok(nanoseconds.with_context(|| format!("{path} says {text:?}"))? / 1e9)
}
