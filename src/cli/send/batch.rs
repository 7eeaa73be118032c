//! Gathers events into batches: as many as are there, but none waits long for company.
//!
//! Lines come from [`input`](super::input), batches go to [`publisher`](super::publisher). While that is busy a batch
//! goes on growing up to its limits, and then the lines wait, and the input with them.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{Receiver, Sender, error::SendError};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

use super::console::Console;
use super::input::Line;

/// Beyond this an answer takes longer, and a repetition costs more, than larger batches save.
const MAX_BATCH_EVENTS: usize = 500;

/// A batch of more than one event is no larger than this; a hub takes far more in a request.
const MAX_BATCH_BYTES: usize = 512 * 1024;

/// How long the first event of a batch waits for others, so that a stream of single lines is not a stream of requests.
const LINGER: Duration = Duration::from_millis(200);

/// Events in one request.
#[derive(Debug)]
pub(super) struct Batch {
    /// NDJSON.
    pub(super) body: Bytes,
    events: Vec<Place>,
}

/// Where an event comes from, and where it is.
#[derive(Debug, Clone, Copy)]
struct Place {
    line: u64,
    input_end: u64,
    body_end: usize,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// The number of the line that became the event at `index`.
    pub(super) fn line(&self, index: usize) -> Option<u64> {
        self.events.get(index).map(|place| place.line)
    }

    pub(super) fn first_line(&self) -> u64 {
        self.events.first().map_or(0, |place| place.line)
    }

    pub(super) fn last_line(&self) -> u64 {
        self.events.last().map_or(0, |place| place.line)
    }

    /// How many bytes of input have been read with it.
    pub(super) fn input_end(&self) -> u64 {
        self.events.last().map_or(0, |place| place.input_end)
    }

    /// Two halves, or the batch itself if it is a single event.
    pub(super) fn split(mut self) -> Result<(Self, Self), Self> {
        if self.events.len() < 2 {
            return Err(self);
        }
        let mut second = self.events.split_off(self.events.len() / 2);
        let boundary = self.events.last().map_or(0, |place| place.body_end);
        for place in &mut second {
            place.body_end -= boundary;
        }
        let second = Self { body: self.body.split_off(boundary), events: second };
        Ok((self, second))
    }
}

/// A batch that grows.
#[derive(Debug, Default)]
struct Draft {
    body: Vec<u8>,
    events: Vec<Place>,
    first_at: Option<Instant>,
}

impl Draft {
    fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    fn is_full(&self) -> bool {
        self.events.len() >= MAX_BATCH_EVENTS || self.body.len() >= MAX_BATCH_BYTES
    }

    /// Whether an event of so many bytes has room; a single one always has.
    fn has_room_for(&self, event_bytes: usize) -> bool {
        let line_end = 1;
        self.is_empty()
            || self.events.len() < MAX_BATCH_EVENTS
                && self.body.len() + event_bytes + line_end <= MAX_BATCH_BYTES
    }

    fn push(&mut self, line: u64, input_end: u64, event: &[u8]) {
        self.body.extend_from_slice(event);
        self.body.push(b'\n');
        self.events.push(Place { line, input_end, body_end: self.body.len() });
        self.first_at.get_or_insert_with(Instant::now);
    }

    fn leaves_at(&self) -> Option<Instant> {
        self.first_at.map(|first_at| first_at + LINGER)
    }

    fn seal(&mut self) -> Batch {
        let Self { body, events, .. } = std::mem::take(self);
        Batch { body: body.into(), events }
    }
}

/// Turns lines into batches, and says which lines are bad.
pub(super) struct Gatherer<'a> {
    lines: Receiver<io::Result<Line>>,
    batches: Sender<Batch>,
    console: &'a Console,
    draft: Draft,
    /// The event that the draft has no room for.
    held: Option<(u64, u64, Vec<u8>)>,
    stopped: bool,
    /// All lines are there: no batch need leave before it is full.
    input_ends: bool,
}

/// What is left when there are no more batches.
#[derive(Debug)]
pub(super) struct Gathered {
    /// Lines that nobody has read, if publishing ended first.
    pub(super) lines: Receiver<io::Result<Line>>,
    /// Whether the reading was stopped before the end of the input.
    pub(super) stopped: bool,
}

impl<'a> Gatherer<'a> {
    pub(super) fn new(
        lines: Receiver<io::Result<Line>>,
        batches: Sender<Batch>,
        console: &'a Console,
    ) -> Self {
        Self {
            lines,
            batches,
            console,
            draft: Draft::default(),
            held: None,
            stopped: false,
            input_ends: false,
        }
    }

    /// For an input that ends by itself, if so.
    pub(super) fn input_ends(self, input_ends: bool) -> Self {
        Self { input_ends, ..self }
    }

    /// Runs until the input ends or the batches' receiver is gone. `stop` ends the input: the lines read by then still
    /// become batches.
    pub(super) async fn run(mut self, stop: &Notify) -> Gathered {
        while let Ok(Step::GoOn) = self.step(stop).await {}
        Gathered { lines: self.lines, stopped: self.stopped }
    }

    async fn step(&mut self, stop: &Notify) -> Result<Step, SendError<()>> {
        let wants_lines = self.held.is_none() && !self.draft.is_full();
        let leaves_at = self.draft.leaves_at().filter(|_| wants_lines);
        let waits = self.draft.is_empty() || self.input_ends && wants_lines;
        let batches = self.batches.clone();
        // In this order, so that what has been read goes into the batch before that leaves.
        tokio::select! {
            biased;
            () = stop.notified(), if !self.stopped => self.stop(),
            () = batches.closed() => return Err(SendError(())),
            line = self.lines.recv(), if wants_lines => return self.take(line).await,
            permit = reserve(&batches, leaves_at), if !waits => {
                permit?.send(self.seal());
            }
        }
        Ok(Step::GoOn)
    }

    fn stop(&mut self) {
        self.stopped = true;
        self.lines.close();
    }

    /// A line, or the end of the input.
    async fn take(&mut self, line: Option<io::Result<Line>>) -> Result<Step, SendError<()>> {
        match line {
            Some(Ok(line)) => {
                self.console.count_read(&line);
                if let Ok(event) = line.event {
                    self.add(line.number, line.input_end, event);
                }
                return Ok(Step::GoOn);
            }
            Some(Err(error)) => self.console.input_failed(&error),
            None => {}
        }
        if !self.draft.is_empty() {
            let batches = self.batches.clone();
            batches.reserve().await?.send(self.seal());
        }
        Ok(Step::Ended)
    }

    fn add(&mut self, line: u64, input_end: u64, event: Vec<u8>) {
        if self.draft.has_room_for(event.len()) {
            self.draft.push(line, input_end, &event);
        } else {
            self.held = Some((line, input_end, event));
        }
    }

    /// The draft as a batch; what it had no room for begins the next.
    fn seal(&mut self) -> Batch {
        let batch = self.draft.seal();
        if let Some((line, input_end, event)) = self.held.take() {
            self.add(line, input_end, event);
        }
        batch
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    GoOn,
    Ended,
}

/// A place for a batch, not before its time.
async fn reserve(
    batches: &Sender<Batch>,
    leaves_at: Option<Instant>,
) -> Result<mpsc::Permit<'_, Batch>, SendError<()>> {
    if let Some(leaves_at) = leaves_at {
        sleep_until(leaves_at).await;
    }
    batches.reserve().await
}

#[cfg(test)]
mod tests {
    use super::super::recognise::BadLine;
    use super::*;

    const PAUSE: Duration = Duration::from_millis(150);

    /// Lets the paused clock run, once everybody else waits.
    async fn pause(duration: Duration) {
        sleep_until(Instant::now() + duration).await;
    }

    fn line(number: u64, event: &str) -> io::Result<Line> {
        Ok(Line { number, input_end: number * 10, event: Ok(event.into()) })
    }

    /// The line numbers of each batch made of `events`, which all come at once.
    async fn batches_of(events: impl IntoIterator<Item = String>) -> Vec<Vec<u64>> {
        let events: Vec<String> = events.into_iter().collect();
        let (lines_sender, lines) = mpsc::channel(events.len() + 1);
        for (number, event) in (1..).zip(&events) {
            lines_sender.try_send(line(number, event)).unwrap();
        }
        drop(lines_sender);
        let (batches_sender, mut batches) = mpsc::channel(events.len() + 1);
        let console = Console::captured().0;
        Gatherer::new(lines, batches_sender, &console).run(&Notify::new()).await;
        let mut found = Vec::new();
        while let Some(batch) = batches.recv().await {
            let lines = batch.body.split(|byte| *byte == b'\n').count() - 1;
            assert_eq!(lines, batch.len());
            found.push(batch.events.iter().map(|place| place.line).collect());
        }
        found
    }

    #[tokio::test]
    async fn batches_are_bounded_by_count() {
        let sizes: Vec<usize> = batches_of(std::iter::repeat_n("{}".to_owned(), 1001))
            .await
            .iter()
            .map(Vec::len)
            .collect();
        assert_eq!(sizes, [500, 500, 1]);
    }

    #[tokio::test]
    async fn batches_are_bounded_by_bytes() {
        let of = |bytes: usize| "x".repeat(bytes - 1);
        let half = MAX_BATCH_BYTES / 2;
        let found = batches_of([of(half), of(half), of(half), of(half + 1), of(1)]).await;
        assert_eq!(found, [vec![1, 2], vec![3], vec![4, 5]]);
        let found = batches_of([of(1), of(2 * MAX_BATCH_BYTES), of(1), of(1)]).await;
        assert_eq!(found, [vec![1], vec![2], vec![3, 4]]);
        assert!(batches_of([]).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn first_event_waits_no_longer_than_the_linger() {
        let (lines_sender, lines) = mpsc::channel(8);
        let (batches_sender, mut batches) = mpsc::channel(1);
        let console = Console::captured().0;
        let stop = Notify::new();
        let gather = Gatherer::new(lines, batches_sender, &console).run(&stop);
        let script = async {
            let begin = Instant::now();
            lines_sender.send(line(1, "{}")).await.unwrap();
            pause(PAUSE).await;
            lines_sender.send(line(2, "{}")).await.unwrap();
            let batch = batches.recv().await.unwrap();
            assert_eq!((batch.first_line(), batch.last_line()), (1, 2));
            assert_eq!(begin.elapsed().as_millis(), LINGER.as_millis());
            drop(lines_sender);
            assert!(batches.recv().await.is_none());
        };
        tokio::join!(gather, script);
    }

    #[tokio::test(start_paused = true)]
    async fn batch_grows_while_the_publisher_is_busy() {
        let (lines_sender, lines) = mpsc::channel(8);
        let (batches_sender, mut batches) = mpsc::channel(1);
        let console = Console::captured().0;
        let stop = Notify::new();
        let gather = Gatherer::new(lines, batches_sender, &console).run(&stop);
        let script = async {
            for number in 1..=5 {
                lines_sender.send(line(number, "{}")).await.unwrap();
                pause(2 * LINGER).await;
            }
            drop(lines_sender);
            assert_eq!(batches.recv().await.unwrap().last_line(), 1);
            assert_eq!(batches.recv().await.unwrap().len(), 4);
            assert!(batches.recv().await.is_none());
        };
        tokio::join!(gather, script);
    }

    #[tokio::test]
    async fn stop_sends_what_was_read() {
        let (lines_sender, lines) = mpsc::channel(8);
        let (batches_sender, mut batches) = mpsc::channel(1);
        let console = Console::captured().0;
        let stop = Notify::new();
        lines_sender.send(line(1, "{}")).await.unwrap();
        stop.notify_one();
        let gathered = Gatherer::new(lines, batches_sender, &console).run(&stop).await;
        assert!(gathered.stopped);
        assert_eq!(batches.recv().await.unwrap().len(), 1);
        lines_sender.send(line(2, "{}")).await.unwrap_err();
    }

    #[tokio::test]
    async fn bad_line_is_said_and_counted() {
        let (lines_sender, lines) = mpsc::channel(8);
        let (batches_sender, mut batches) = mpsc::channel(1);
        let (console, said) = Console::captured();
        let event = Err(BadLine::TooLong { limit: 2000 });
        lines_sender.send(Ok(Line { number: 7, input_end: 0, event })).await.unwrap();
        lines_sender.send(Err(io::ErrorKind::BrokenPipe.into())).await.unwrap();
        Gatherer::new(lines, batches_sender, &console).run(&Notify::new()).await;
        assert!(batches.recv().await.is_none());
        assert!(!console.tally().all_accepted());
        assert_eq!(
            said.text(),
            "line 7: not sent: longer than 2,000 bytes\ncannot read on after line 7: broken pipe\n"
        );
    }

    #[test]
    fn halves_keep_their_lines() {
        let mut draft = Draft::default();
        for (number, event) in [(3, "a"), (5, "bb"), (6, "ccc")] {
            draft.push(number, number, event.as_bytes());
        }
        let (first, second) = draft.seal().split().unwrap();
        assert_eq!((&first.body[..], first.line(0), first.len()), (&b"a\n"[..], Some(3), 1));
        assert_eq!((&second.body[..], second.line(1)), (&b"bb\nccc\n"[..], Some(6)));
        let (second, third) = second.split().unwrap();
        assert_eq!((&second.body[..], &third.body[..]), (&b"bb\n"[..], &b"ccc\n"[..]));
        assert_eq!(third.split().unwrap_err().first_line(), 6);
    }
}
