//! A hub in this process, without a socket, in a time of its own: what would wait is over at once.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use jiff::Timestamp;
use telemetry_hub::HubService;
use telemetry_hub::actors::{
    Clock, Delivered, Event, HubConfig, HubHandle, NewEvent, Subscription, TraceQuery,
};
use tokio::runtime::{Builder, Runtime};
use tower_service::Service;

/// Longer than anything takes, in the hub's time.
const PATIENCE: Duration = Duration::from_secs(5);

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without a driver of I/O needs nothing of the system");
    /// Makes events of what is given to it, and nothing else.
    static MAKER: RefCell<Option<TestHub>> = const { RefCell::new(None) };
}

/// Runs to the end.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// A hub, and one who sees all of its events.
pub(crate) struct TestHub {
    pub(crate) hub: HubHandle,
    service: HubService,
    watcher: Subscription,
}

impl TestHub {
    pub(crate) async fn start() -> Self {
        let clock = Clock::new(|| Timestamp::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let config = HubConfig { clock, replay_bytes: 0, ..HubConfig::default() };
        let hub = HubHandle::start(config).await.expect("nothing hinders it");
        let watcher = hub.subscribe(TraceQuery::everything()).await.expect("there is room");
        Self { service: HubService::new(&hub), hub, watcher }
    }

    /// What the hub answers.
    pub(crate) async fn answer(&mut self, request: Request<Bytes>) -> (StatusCode, Bytes) {
        let request = request.map(Full::new);
        let Ok(response) = self.service.call(request).await;
        let (head, body) = Response::into_parts(response);
        let body = body.collect().await.expect("an answer has an end").to_bytes();
        assert!(!head.status.is_server_error(), "{}: {body:?}", head.status);
        (head.status, body)
    }

    pub(crate) async fn post(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> (StatusCode, Bytes) {
        let mut request = Request::post(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.answer(request.body(body.into()).expect("these headers are good")).await
    }

    /// All events that the hub has been given since this was last asked.
    pub(crate) async fn events(&mut self) -> Vec<Arc<Event>> {
        let given = self.hub.stats().received;
        let mut events = Vec::new();
        while self.watcher.stats().sent < given {
            let next = tokio::time::timeout(PATIENCE, self.watcher.next()).await;
            match next.expect("what is accepted is sent") {
                Some(Delivered::Events(more)) => events.extend(more),
                other => panic!("{other:?} from a hub with room for all"),
            }
        }
        events
    }

    pub(crate) async fn stop(self) {
        let Self { hub, service, watcher } = self;
        drop((service, watcher));
        hub.shutdown(PATIENCE).await.expect("nothing has failed");
    }
}

/// Events as a hub has accepted them. One hub makes them all.
pub(crate) fn accepted(events: Vec<NewEvent>) -> Vec<Arc<Event>> {
    MAKER.with_borrow_mut(|maker| {
        run(async {
            if maker.is_none() {
                *maker = Some(TestHub::start().await);
            }
            let maker = maker.as_mut().expect("it has just been made");
            maker.hub.ingest(events).await.expect("there is room");
            maker.events().await
        })
    })
}
