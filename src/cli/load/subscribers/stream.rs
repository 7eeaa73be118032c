//! Reads streams, each in a task of its own: freely, slowly, or not until all is published.
//!
//! The three ways are three functions, so that the many who read freely do not carry what only the few others need.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::body::{Body as _, Incoming};
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use super::super::ledger::ReaderClass;
use super::{Phase, Reader, SLOW_TICK, Step, Worker};

/// A stream, however it is carried.
trait Source {
    /// Reads on, at most so many bytes if it can choose.
    fn poll_step(
        &mut self,
        worker: &Worker,
        reader: &mut Reader,
        most: usize,
        context: &mut Context<'_>,
    ) -> Poll<Step>;
}

impl Source for TcpStream {
    fn poll_step(
        &mut self,
        worker: &Worker,
        reader: &mut Reader,
        most: usize,
        context: &mut Context<'_>,
    ) -> Poll<Step> {
        worker.poll_read(self, reader, most, context)
    }
}

impl Source for Incoming {
    /// Takes a frame of HTTP/2 whole.
    fn poll_step(
        &mut self,
        worker: &Worker,
        reader: &mut Reader,
        _most: usize,
        context: &mut Context<'_>,
    ) -> Poll<Step> {
        let step = match ready!(Pin::new(self).poll_frame(context)) {
            Some(Ok(frame)) => match frame.data_ref() {
                Some(data) if worker.take(reader, data).is_ok() => Step::Read(data.len()),
                Some(_) => Step::Ended,
                None => Step::Read(0),
            },
            Some(Err(_)) | None => Step::Ended,
        };
        Poll::Ready(step)
    }
}

/// Reads a stream that is a connection.
pub(super) fn read_http1(worker: &Rc<Worker>, socket: TcpStream, reader: Reader) {
    read(Rc::clone(worker), socket, reader);
}

/// Reads a stream of HTTP/2.
pub(super) fn read_http2(worker: &Rc<Worker>, body: Incoming, reader: Reader) {
    read(Rc::clone(worker), body, reader);
}

/// Tasks end with their stream, or with the thread's [`LocalSet`](tokio::task::LocalSet).
fn read<S: Source + 'static>(worker: Rc<Worker>, source: S, reader: Reader) {
    let class = worker.ledger.borrow().class(reader.account);
    match class {
        ReaderClass::Healthy => spawn_local(freely(worker, source, reader)),
        ReaderClass::Slow => spawn_local(slowly(worker, source, reader)),
        ReaderClass::Stalled => spawn_local(late(worker, source, reader)),
    };
}

async fn freely<S: Source>(worker: Rc<Worker>, mut source: S, mut reader: Reader) {
    poll_fn(|context| {
        // Each step that is ready uses up some of what tokio lets a task do in one go.
        while let Step::Read(_) =
            ready!(source.poll_step(&worker, &mut reader, usize::MAX, context))
        {}
        Poll::Ready(())
    })
    .await;
    worker.ended(reader.account);
}

async fn late<S: Source>(worker: Rc<Worker>, source: S, reader: Reader) {
    worker.all_published().await;
    freely(worker, source, reader).await;
}

/// Reads so much at each tick; once all is published, freely.
async fn slowly<S: Source>(worker: Rc<Worker>, mut source: S, mut reader: Reader) {
    let rate = worker.plan().subscribing.readers.slow_rate as usize;
    let allowance = (rate as f64 * SLOW_TICK.as_secs_f64()).max(1.0) as i64;
    let mut ticks = worker.slow_tick.subscribe();
    let mut credit = 0;
    loop {
        // The sender lives in the worker.
        ticks.changed().await.expect("the worker is there");
        if *worker.common.phase.borrow() >= Phase::Settling {
            return freely(worker, source, reader).await;
        }
        // A frame that was larger than the allowance is made up for by reading nothing for some ticks.
        credit = (credit + allowance).min(allowance);
        while credit > 0 {
            let most = usize::try_from(credit).expect("it is positive");
            match poll_fn(|context| source.poll_step(&worker, &mut reader, most, context)).await {
                Step::Read(bytes) => credit -= bytes as i64,
                Step::Ended => return worker.ended(reader.account),
            }
        }
    }
}
