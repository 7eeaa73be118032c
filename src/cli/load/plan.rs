//! What a run will do: the options, checked against each other and against the machine. Nothing has been sent yet.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hyper::http::{HeaderName, HeaderValue, Method};

use super::ledger::ReaderClass;
use super::limits::Limits;
use super::options::LoadOptions;
use super::schedule::Schedule;
use super::stamp::RunId;
use super::target::{Target, TargetError};
use super::template::{NumberName, Template};

/// Where a hub has its streams, and where it takes events.
const LIVE_PATH: &str = "/api/telemetry/traces/live";
const EVENTS_PATH: &str = "/api/telemetry/events";

/// Some 200 bytes, as a mail server sends them.
const EVENT: &str = r#"{"type":"auth.failed","level":"WARN","text":"load {stamp}","data":{"remoteIp":"{target.ip}","accountName":"user-{target.hex}@example.org","detail":"{pad}"}}"#;

/// The server is mostly on the same machine, and a thread reads a million events a second: half of the cores, and no more than
/// these. On two cores one thread took less time for a delivery than two, and all came sooner.
const MAX_DEFAULT_THREADS: usize = 8;

/// Sockets that are no subscriber's or publisher's: files, pipes, the runtimes' own.
const SPARE_FILES: u64 = 50;

/// Options that cannot be, by themselves or together.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    #[error("{option}: {source}")]
    Target { option: &'static str, source: TargetError },
    #[error("{option}: {reason}")]
    Option { option: &'static str, reason: String },
}

impl PlanError {
    fn option(option: &'static str, reason: impl Into<String>) -> Self {
        Self::Option { option, reason: reason.into() }
    }
}

/// A run, checked.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) run: RunId,
    pub(super) schedule: Schedule,
    pub(super) subscribing: Subscribing,
    pub(super) publishing: Publishing,
    pub(super) threads: u32,
    pub(super) ramp_up: Duration,
    pub(super) idle: Duration,
    pub(super) settle: Duration,
    pub(super) server_pids: Vec<u32>,
}

/// How subscribers get their streams, and how they read.
#[derive(Debug)]
pub(super) struct Subscribing {
    /// Connections take turns with them.
    sites: Vec<Site>,
    pub(super) subscribers: u32,
    pub(super) http2: bool,
    pub(super) streams_per_connection: u32,
    pub(super) sources: u8,
    /// The value of `Authorization`.
    pub(super) authorization: Option<HeaderValue>,
    pub(super) readers: ReaderMix,
}

/// How many of ten thousand subscribers read how.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReaderMix {
    slow: u32,
    stalled: u32,
    /// Bytes a second.
    pub(super) slow_rate: u32,
    pub(super) receive_buffer: u32,
}

/// How publishers send.
#[derive(Debug)]
pub(super) struct Publishing {
    /// Publishers take turns with them.
    sites: Vec<Site>,
    body: Template,
    event_bytes: usize,
    /// Method, and all headers that are the same in every request.
    method: Method,
    headers: String,
}

/// Where a connection goes, and what is asked for there.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) target: Target,
    /// The path and the query.
    path: Template,
}

impl Site {
    /// What whoever has this filter asks for.
    pub(super) fn path(&self, filter: u32) -> String {
        self.path.numbered(filter)
    }
}

/// How large a POST may be: more than servers take, little enough for each publisher to hold.
const MAX_BODY_BYTES: u64 = 64 << 20;

impl Plan {
    pub(super) async fn new(options: &LoadOptions) -> Result<Self, PlanError> {
        let subscribing = Subscribing::new(options).await?;
        let publishing = Publishing::new(options).await?;
        let filters = filters(options, &subscribing, &publishing)?;
        let schedule = Schedule {
            publishers: options.publishers.into(),
            batch: options.batch,
            rate: options.rate,
            duration: options.duration,
            filters,
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let usual = (cores / 2).clamp(1, MAX_DEFAULT_THREADS);
        let threads = options.threads.map_or(usual as u32, u32::from);
        let plan = Self {
            run: RunId(rand::random()),
            threads: threads.min(subscribing.connections()),
            schedule,
            subscribing,
            publishing,
            ramp_up: options.ramp_up,
            idle: options.idle,
            settle: options.settle,
            server_pids: options.server_pids.clone(),
        };
        plan.check_limits(Limits::of_this_process())?;
        Ok(plan)
    }

    /// Says now what the system would say in the midst of the run.
    fn check_limits(&self, limits: Limits) -> Result<(), PlanError> {
        let connections = u64::from(self.subscribing.connections());
        let files = connections + u64::from(self.schedule.publishers) + SPARE_FILES;
        if files > limits.open_files {
            let reason = format!(
                "needs {files} open files, and a process may have {}: raise `ulimit -n`, or use --http2",
                limits.open_files
            );
            return Err(PlanError::option("--subscribers", reason));
        }
        let body = u64::from(self.schedule.batch) * self.publishing.event_bytes as u64;
        if body > MAX_BODY_BYTES {
            let reason =
                format!("--batch times this is {body} bytes a POST; at most {MAX_BODY_BYTES}");
            return Err(PlanError::option("--event-bytes", reason));
        }
        let ports = u64::from(self.subscribing.sources) * limits.ports;
        if connections > ports {
            let reason = format!(
                "{connections} connections need more ports than the {ports} there are; each address has {}",
                limits.ports
            );
            return Err(PlanError::option("--sources", reason));
        }
        Ok(())
    }
}

/// How many different filters there are; 1 if everybody gets everything.
fn filters(
    options: &LoadOptions,
    subscribing: &Subscribing,
    publishing: &Publishing,
) -> Result<u32, PlanError> {
    let has_number = |sites: &[Site]| sites[0].path.has_number();
    let subscribers_differ = has_number(&subscribing.sites);
    let events_differ = publishing.body.has_number() || has_number(&publishing.sites);
    if subscribers_differ && !events_differ {
        let reason = "subscribers differ by {n}, but no event differs by {target}";
        return Err(PlanError::option("--publish-body", reason));
    }
    if has_number(&publishing.sites) && options.batch > 1 {
        return Err(PlanError::option("--batch", "events of one POST cannot have different URLs"));
    }
    match (subscribers_differ, options.filters) {
        (true, filters) => Ok(filters.unwrap_or(options.subscribers)),
        (false, None) => Ok(1),
        (false, Some(_)) => {
            let reason = "needs an {n} in --filter or --subscribe-url";
            Err(PlanError::option("--filters", reason))
        }
    }
}

impl Subscribing {
    async fn new(options: &LoadOptions) -> Result<Self, PlanError> {
        let (option, mut urls) = match options.subscribe_urls.as_slice() {
            [] => ("--url", vec![hub_url(&options.url, LIVE_PATH)]),
            urls => ("--subscribe-url", urls.to_vec()),
        };
        if let Some(filter) = &options.filter {
            for url in &mut urls {
                url.push(if url.contains('?') { '&' } else { '?' });
                url.push_str(filter);
            }
        }
        let sites = sites(option, &urls, NumberName::N, options.allow_remote).await?;
        let is_far = |ip: &IpAddr| !(ip.is_ipv4() && ip.is_loopback());
        let far = sites.iter().map(|site| site.target.address.ip()).find(is_far);
        if let Some(ip) = far.filter(|_| options.sources > 1) {
            let reason = format!("{ip} is not reached from 127.0.0.2");
            return Err(PlanError::option("--sources", reason));
        }
        if options.slow + options.stalled > 10_000 {
            return Err(PlanError::option(
                "--slow",
                "with --stalled, more than a hundred of a hundred",
            ));
        }
        let readers = ReaderMix {
            slow: options.slow,
            stalled: options.stalled,
            slow_rate: options.slow_rate,
            receive_buffer: options.receive_buffer,
        };
        Ok(Self {
            sites,
            subscribers: options.subscribers,
            http2: options.http2,
            streams_per_connection: if options.http2 { options.streams_per_connection } else { 1 },
            sources: options.sources,
            authorization: authorization(options, option)?,
            readers,
        })
    }

    pub(super) fn connections(&self) -> u32 {
        self.subscribers.div_ceil(self.streams_per_connection)
    }

    /// Where the connection of this number goes.
    pub(super) fn site(&self, connection: u32) -> &Site {
        &self.sites[connection as usize % self.sites.len()]
    }

    /// Where all of them go.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.sites.iter().map(|site| site.target.address)
    }
}

impl ReaderMix {
    /// How a subscriber reads. Each kind is spread evenly over the whole.
    pub(super) fn class(self, subscriber: u32) -> ReaderClass {
        let unhealthy = self.slow + self.stalled;
        match picked(subscriber, unhealthy, 10_000) {
            None => ReaderClass::Healthy,
            Some(number) if picked(number, self.stalled, unhealthy).is_some() => {
                ReaderClass::Stalled
            }
            Some(_) => ReaderClass::Slow,
        }
    }
}

/// Whether number `index` is among those picked, `share` of every `whole`; if so, how many were picked before it.
fn picked(index: u32, share: u32, whole: u32) -> Option<u32> {
    let before = |index: u64| index * u64::from(share) / u64::from(whole);
    let index = u64::from(index);
    (before(index + 1) > before(index)).then(|| before(index) as u32)
}

impl Publishing {
    async fn new(options: &LoadOptions) -> Result<Self, PlanError> {
        let (option, urls) = match options.publish_urls.as_slice() {
            [] => ("--url", vec![hub_url(&options.url, EVENTS_PATH)]),
            urls => ("--publish-url", urls.to_vec()),
        };
        let sites = sites(option, &urls, NumberName::Target, options.allow_remote).await?;
        let body = options.publish_body.as_deref().unwrap_or(EVENT);
        let body = Template::parse(body, NumberName::Target);
        if body.stamps() != 1 {
            return Err(PlanError::option("--publish-body", "needs {stamp} just once"));
        }
        let method = Method::from_bytes(options.publish_method.as_bytes())
            .map_err(|error| PlanError::option("--publish-method", error.to_string()))?;
        let mut headers = String::new();
        let content_type = format!("Content-Type: {}", options.publish_content_type);
        for (option, header) in std::iter::once(("--publish-content-type", &content_type))
            .chain(options.publish_headers.iter().map(|header| ("--publish-header", header)))
        {
            headers +=
                &header_line(header).ok_or_else(|| PlanError::option(option, "not a header"))?;
        }
        if let Some(value) = authorization(options, option)? {
            headers += &authorization_line(&value);
        }
        let event_bytes = options.event_bytes as usize;
        Ok(Self { sites, body, event_bytes, method, headers })
    }

    /// Where the publisher of this number sends its events.
    pub(super) fn site(&self, publisher: u32) -> &Site {
        &self.sites[publisher as usize % self.sites.len()]
    }

    /// Appends the event for a filter.
    pub(super) fn event(&self, text: &mut String, filter: u32, stamp: &str) {
        self.body.event(text, filter, stamp, self.event_bytes);
    }

    /// A request of a publisher whole, for the filter that its event is for.
    pub(super) fn request(&self, publisher: u32, filter: u32, body: &str) -> String {
        let (site, length) = (self.site(publisher), body.len());
        let (path, host) = (site.path(filter), &site.target.authority);
        let Self { method, headers, .. } = self;
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        )
    }
}

/// What shows the token to the hub, and to no other server. `option` is the one that says which it is.
fn authorization(options: &LoadOptions, option: &str) -> Result<Option<HeaderValue>, PlanError> {
    let Some(token) = options.token.as_ref().filter(|_| option == "--url") else {
        return Ok(None);
    };
    let value = HeaderValue::try_from(format!("Bearer {}", token.as_str()));
    let value = value.ok().filter(|value| value.to_str().is_ok());
    let mut value = value.ok_or_else(|| PlanError::option("--token", "not a token"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// The same as it stands in a request of HTTP/1.1.
pub(super) fn authorization_line(value: &HeaderValue) -> String {
    format!("Authorization: {}\r\n", value.to_str().expect("it is a text"))
}

/// A header as it stands in a request. Nothing in it can begin another.
fn header_line(text: &str) -> Option<String> {
    let (name, value) = text.split_once(':')?;
    let name: HeaderName = name.trim().parse().ok()?;
    let value: HeaderValue = value.trim().parse().ok()?;
    Some(format!("{name}: {}\r\n", value.to_str().ok()?))
}

/// A path of the hub, behind whatever path its own URL has.
fn hub_url(url: &str, path: &str) -> String {
    format!("{}{path}", url.trim_end_matches('/'))
}

/// Checks URLs of which all have numbers, or none.
async fn sites(
    option: &'static str,
    urls: &[String],
    number: NumberName,
    allow_remote: bool,
) -> Result<Vec<Site>, PlanError> {
    let mut sites: Vec<Site> = Vec::new();
    for url in urls {
        let site = site(option, url, number, allow_remote).await?;
        if sites.first().is_some_and(|first| first.path.has_number() != site.path.has_number()) {
            return Err(PlanError::option(option, "a number stands in one, and not in another"));
        }
        sites.push(site);
    }
    Ok(sites)
}

/// Checks a URL that may have numbers in its path and its query, and nowhere else.
async fn site(
    option: &'static str,
    url: &str,
    number: NumberName,
    allow_remote: bool,
) -> Result<Site, PlanError> {
    let template = Template::parse(url, number);
    let (target, first) = Target::find(&template.numbered(0), allow_remote)
        .await
        .map_err(|source| PlanError::Target { option, source })?;
    let authority_end = url.find("://").map_or(0, |at| at + 3);
    let path_begin = url[authority_end..].find(['/', '?', '#', '\\']);
    let authority = &url[..path_begin.map_or(url.len(), |at| authority_end + at)];
    if Template::parse(authority, number).has_number() {
        return Err(PlanError::option(option, "a number cannot stand in the host"));
    }
    // What a URL may not hold as it is, a space for instance, was written in its safe form by the parser; the places were
    // not, so they have to be found in the text as it was given.
    let path = path_and_query(&first);
    let given = &url[authority.len()..];
    let given = given.split_once('#').map_or(given, |(given, _)| given);
    let given = if given.starts_with('/') { given.to_owned() } else { format!("/{given}") };
    let template = Template::parse(&given, number);
    if template.numbered(0) != path && template.has_number() {
        let reason = format!("write it as it is to be sent, like {path}");
        return Err(PlanError::option(option, reason));
    }
    let template = if template.has_number() { template } else { Template::parse(&path, number) };
    Ok(Site { target, path: template })
}

fn path_and_query(url: &reqwest::Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}
