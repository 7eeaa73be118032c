//! What a subscriber asks for, read from the query string of a URL. A bad parameter is refused by its name, before any
//! actor exists; nothing is ignored.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo, Timestamp};

use crate::client::Client;
use crate::error::{QueryError, QueryFault};
use crate::event::EventId;
use crate::filter::{Filter, FilterBuilder};
use crate::key::Key;
use crate::selection::Selection;
use crate::subscriber::SubscriberId;

/// How long a parameter's name or value may be, in bytes.
const MAX_PARAMETER_BYTES: usize = 1024;

/// The shortest and the longest interval of a metrics stream.
const INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(3600);

/// The interval of a metrics stream that names none.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);

/// A subscription to live events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceQuery {
    /// Who asks.
    pub client: Client,
    /// Which events.
    pub filter: Filter,
    /// What to replay before the first live event; `None` for nothing.
    pub replay: Option<Replay>,
    /// Of more than so many live events a second, a sample.
    pub max_rate: Option<MaxRate>,
    /// When the right to watch ends: then the stream ends, with `bye`.
    pub expires: Option<Timestamp>,
}

/// How many live events a second one subscriber gets at most. A replay is not held to it: it is history that was asked for,
/// and comes no faster than its client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxRate(NonZeroU32);

impl MaxRate {
    /// Nobody is sent more anyway.
    const LIMIT: u32 = 1_000_000;

    /// How many.
    pub fn per_second(self) -> u64 {
        self.0.get().into()
    }
}

impl FromStr for MaxRate {
    type Err = QueryFault;

    fn from_str(text: &str) -> Result<Self, QueryFault> {
        let rate: NonZeroU32 = text.parse().map_err(|_| QueryFault::NotARate)?;
        if rate.get() > Self::LIMIT { Err(QueryFault::NotARate) } else { Ok(Self(rate)) }
    }
}

/// What to replay: the last so many, of those since a point, or of all that the hub still has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replay {
    /// No event before this.
    pub since: Option<Since>,
    /// No more than this many, the last ones.
    pub last: Option<usize>,
}

/// Where a replay begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// After the event with this id.
    Event(EventId),
    /// At the first event that arrived at this time.
    Time(Timestamp),
    /// At the first event that arrived no longer ago than this.
    Ago(Duration),
}

impl TraceQuery {
    /// Every event from now on.
    pub fn everything() -> Self {
        let (client, filter) = (Client::default(), Filter::everything());
        Self { client, filter, replay: None, max_rate: None, expires: None }
    }

    /// Reads the query string of a URL, and the `Last-Event-ID` that came with it, which wins over any other start: a
    /// client that reconnects repeats its URL.
    pub fn parse(query: &str, last_event_id: Option<&str>) -> Result<Self, QueryError> {
        let mut filter = FilterBuilder::default();
        let mut resume = None;
        let mut since = None;
        let mut last = None;
        let mut max_rate = None;
        for (name, value) in parameters(query)? {
            let key = Key::new(&name);
            let result = match key.as_ref().map_or("", Key::as_str) {
                "replay" => once(&mut last, value.parse().map_err(|_| QueryFault::NotACount)),
                "since" => once(&mut since, value.parse()),
                "max-rate" => once(&mut max_rate, value.parse()),
                "last-event-id" if value.is_empty() => Ok(()),
                "last-event-id" => {
                    once(&mut resume, value.parse().map_err(|_| QueryFault::NotAnId))
                }
                // Who may ask was settled before.
                "token" => Ok(()),
                key => filter.parameter(key, &name, &value),
            };
            result.map_err(|fault| fault.of(&name))?;
        }
        if let Some(header) = last_event_id.filter(|id| !id.is_empty()) {
            let id = header.parse().map_err(|_| QueryFault::NotAnId.of("Last-Event-ID"))?;
            resume = Some(id);
        }
        let replay = match (resume, since, last) {
            (Some(id), _, _) => Some(Replay { since: Some(Since::Event(id)), last: None }),
            (None, None, None) => None,
            (None, since, last) => Some(Replay { since, last }),
        };
        let (client, filter) = (Client::default(), filter.build());
        Ok(Self { client, filter, replay, max_rate, expires: None })
    }
}

impl FromStr for Since {
    type Err = QueryFault;

    fn from_str(text: &str) -> Result<Self, QueryFault> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Event(id));
        }
        if let Some(duration) = parse_duration(text) {
            return Ok(Self::Ago(duration));
        }
        // In a query string a plus sign that nobody escaped has become a space.
        let time = text.parse().or_else(|_| text.replace(' ', "+").parse());
        time.map(Self::Time).map_err(|_| QueryFault::NotAStart)
    }
}

/// The parameters that say which events, as a query string: `level=warn&remote-ip=10.0.0.0/8`.
impl FromStr for Filter {
    type Err = QueryError;

    fn from_str(query: &str) -> Result<Self, QueryError> {
        let mut filter = FilterBuilder::default();
        for (name, value) in parameters(query)? {
            let key = Key::new(&name);
            let result = match key.as_ref().map_or("", Key::as_str) {
                "replay" | "since" | "last-event-id" | "max-rate" | "token" => {
                    Err(QueryFault::NotAFilter)
                }
                key => filter.parameter(key, &name, &value),
            };
            result.map_err(|fault| fault.of(&name))?;
        }
        Ok(filter.build())
    }
}

/// A subscription to metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsQuery {
    /// Who asks.
    pub client: Client,
    /// Which series.
    pub selection: Selection,
    /// How often.
    pub interval: Duration,
    /// When the right to watch ends: then the stream ends, with `bye`.
    pub expires: Option<Timestamp>,
}

impl MetricsQuery {
    /// Every series, as often as `interval` says.
    pub fn everything(interval: Duration) -> Self {
        let (client, selection) = (Client::default(), Selection::everything());
        Self { client, selection, interval, expires: None }
    }

    /// Reads the query string of a URL.
    pub fn parse(query: &str) -> Result<Self, QueryError> {
        let mut selection = Selection::everything();
        let mut interval = None;
        for (name, value) in parameters(query)? {
            let key = Key::new(&name);
            let result = match key.as_ref().map_or("", Key::as_str) {
                "metrics" => selection.add(&value),
                "interval" => once(&mut interval, parse_interval(&value)),
                "token" => Ok(()),
                _ => Err(QueryFault::UnknownParameter),
            };
            result.map_err(|fault| fault.of(&name))?;
        }
        let interval = interval.unwrap_or(DEFAULT_INTERVAL);
        Ok(Self { client: Client::default(), selection, interval, expires: None })
    }

    /// The same query string for all that ask for the same.
    pub(crate) fn canonical(&self) -> String {
        let (interval, selection) = (self.interval.as_secs_f64(), self.selection.canonical());
        let joint = if selection.starts_with("metrics=") { "&" } else { "" };
        format!("interval={interval}{joint}{selection}")
    }
}

/// Which of the subscribers to list, in the order in which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscribersQuery {
    /// Those that came after this one; `None` for the first.
    pub after: Option<SubscriberId>,
    /// No more than so many: at least 1, and [`MAX_LIMIT`](Self::MAX_LIMIT) at most.
    pub limit: usize,
}

impl Default for SubscribersQuery {
    fn default() -> Self {
        Self { after: None, limit: Self::MAX_LIMIT }
    }
}

impl SubscribersQuery {
    /// The longest list: making it takes the hub a millisecond or so, in which nobody else can subscribe.
    pub const MAX_LIMIT: usize = 1000;

    /// Reads the query string of a URL.
    pub fn parse(query: &str) -> Result<Self, QueryError> {
        let (mut limit, mut after) = (None, None);
        for (name, value) in parameters(query)? {
            let key = Key::new(&name);
            let result = match key.as_ref().map_or("", Key::as_str) {
                "limit" => once(&mut limit, parse_limit(&value)),
                "after" => once(&mut after, value.parse().map_err(|_| QueryFault::NotASubscriber)),
                "token" => Ok(()),
                _ => Err(QueryFault::UnknownOfList),
            };
            result.map_err(|fault| fault.of(&name))?;
        }
        Ok(Self { after, limit: limit.unwrap_or(Self::MAX_LIMIT) })
    }
}

fn parse_limit(text: &str) -> Result<usize, QueryFault> {
    let limit = text.parse().ok().filter(|limit| (1..=SubscribersQuery::MAX_LIMIT).contains(limit));
    limit.ok_or(QueryFault::NotALimit)
}

fn parse_interval(text: &str) -> Result<Duration, QueryFault> {
    // Whoever asks for 0.1001 s shares a sampler with those who ask for 0.1 s.
    const GRAIN: u128 = 10;
    let interval = parse_duration(text).filter(|interval| INTERVALS.contains(interval));
    let milliseconds = interval.ok_or(QueryFault::NotAnInterval)?.as_millis() / GRAIN * GRAIN;
    u64::try_from(milliseconds).map(Duration::from_millis).map_err(|_| QueryFault::NotAnInterval)
}

/// Seconds, or numbers with units (`500ms`, `1h 30m`); a day has 24 hours. Not negative.
fn parse_duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let span: Span = text.parse().ok()?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?.try_into().ok()
}

fn once<T>(slot: &mut Option<T>, value: Result<T, QueryFault>) -> Result<(), QueryFault> {
    match slot.replace(value?) {
        Some(_) => Err(QueryFault::Repeated),
        None => Ok(()),
    }
}

/// A name and a value.
type Parameter<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The parameters of a query string, decoded.
fn parameters(query: &str) -> Result<Vec<Parameter<'_>>, QueryError> {
    for pair in query.split('&') {
        if percent_encoding::percent_decode_str(pair).decode_utf8().is_err() {
            return Err(QueryFault::NotUtf8.of(pair.split('=').next().unwrap_or(pair)));
        }
    }
    let parameters: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    // A ticket was looked at before, and may carry a filter of its own.
    for (name, value) in parameters.iter().filter(|(name, _)| name != "token") {
        if name.len() > MAX_PARAMETER_BYTES || value.len() > MAX_PARAMETER_BYTES {
            let name: String = name.chars().take(64).collect();
            return Err(QueryFault::TooLong.of(&name));
        }
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_bad(query: &str, parameter: &str, fault: QueryFault) {
        assert_eq!(TraceQuery::parse(query, None), Err(fault.of(parameter)), "{query}");
    }

    #[track_caller]
    fn check_filter(query: &str, canonical: &str) {
        assert_eq!(TraceQuery::parse(query, None).unwrap().filter.canonical(), canonical);
    }

    #[track_caller]
    fn check_replay(query: &str, header: Option<&str>, since: Option<Since>, last: Option<usize>) {
        let query = TraceQuery::parse(query, header).unwrap();
        assert_eq!(query.replay, Some(Replay { since, last }));
    }

    #[test]
    fn filters_that_ask_for_the_same_are_equal() {
        let canonical = "filter=x&level=WARN&remote-ip=1&remote-ip=2&follow=span";
        check_filter("remoteIp=2&filter=x&level=error&remote.ip=1&level=warn", canonical);
        check_filter(
            "remote_ip=1&RemoteIP=2&level=warning&filter=x&filter=x&follow=span",
            canonical,
        );
        check_filter("data.a=1&a=1", "a=1&data.a=1&follow=span");
        check_filter("follow=trace", "follow=none");
        check_filter("a=b+c%26", "a=b+c%26&follow=span");
    }

    #[test]
    fn bad_parameters_are_refused_by_name() {
        check_bad("level=loud", "level", QueryFault::UnknownLevel);
        check_bad("follow=x", "follow", QueryFault::UnknownFollow);
        check_bad("=x", "", QueryFault::MalformedKey);
        check_bad("data.=x", "data.", QueryFault::MalformedKey);
        check_bad("a%0Ab=x", "a\nb", QueryFault::MalformedKey);
        check_bad("replay=-1", "replay", QueryFault::NotACount);
        check_bad("replay=", "replay", QueryFault::NotACount);
        check_bad("since=soon", "since", QueryFault::NotAStart);
        check_bad("since=-5m", "since", QueryFault::NotAStart);
        check_bad("since=5m&since=6m", "since", QueryFault::Repeated);
        check_bad("last-event-id=7", "last-event-id", QueryFault::NotAnId);
        for rate in ["0", "-1", "", "many", "1.5", "1000001", "99999999999999999999"] {
            check_bad(&format!("max-rate={rate}"), "max-rate", QueryFault::NotARate);
        }
        check_bad("max-rate=5&maxRate=6", "maxRate", QueryFault::Repeated);
        check_bad("where=true&where=false", "where", QueryFault::Repeated);
        let fault = "`nowhere` is unknown; known are type, level, severity, text, trace_id, span_id, created_at, data";
        check_bad("where=nowhere", "where", QueryFault::BadExpression(fault.into()));
        check_bad("k=%FF", "k", QueryFault::NotUtf8);
        check_bad(&format!("k={}", "x".repeat(1025)), "k", QueryFault::TooLong);
        let many: String = (0..33).map(|n| format!("k{n}=1&")).collect();
        check_bad(many.trim_end_matches('&'), "k32", QueryFault::TooManyFilters);
        assert_eq!(TraceQuery::parse("", Some("x")), Err(QueryFault::NotAnId.of("Last-Event-ID")));
        assert!(TraceQuery::parse(&format!("k={}", "x".repeat(1024)), Some("")).is_ok());
    }

    #[test]
    fn a_rate_is_no_part_of_the_filter() {
        let query = TraceQuery::parse("a=1&max-rate=1000000", None).unwrap();
        assert_eq!(query.max_rate.map(MaxRate::per_second), Some(1_000_000));
        assert_eq!(query.filter, "a=1".parse().unwrap());
        let fault = "a=1&max-rate=5".parse::<Filter>();
        assert_eq!(fault, Err(QueryFault::NotAFilter.of("max-rate")));
    }

    #[test]
    fn starts() {
        let id = "0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000";
        let event = Some(Since::Event(id.parse().unwrap()));
        let time: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        check_replay("replay=5", None, None, Some(5));
        check_replay(
            "since=90s&replay=5",
            None,
            Some(Since::Ago(Duration::from_secs(90))),
            Some(5),
        );
        check_replay("since=1h30m", None, Some(Since::Ago(Duration::from_secs(5400))), None);
        check_replay("since=2026-11-22T12:00:00+02:00", None, Some(Since::Time(time)), None);
        check_replay(&format!("since={id}"), None, event, None);
        check_replay("replay=5&since=5m", Some(id), event, None);
        check_replay(&format!("lastEventId={id}&replay=3"), None, event, None);
        let day = Some(Since::Ago(Duration::from_secs(86_400)));
        check_replay("since=1d", None, day, None);
        check_replay("since=86400", None, day, None);
        for none in ["a=1", "last-event-id="] {
            assert_eq!(TraceQuery::parse(none, None).unwrap().replay, None);
        }
    }

    #[test]
    fn metrics_that_ask_for_the_same_are_equal() {
        for (query, canonical) in [
            ("", "interval=30"),
            ("interval=1m", "interval=60"),
            ("metrics=b,a&interval=500ms&metrics=a", "interval=0.5&metrics=a,b"),
            ("metrics=%26,*.count", "interval=30&metrics=%26,*.count"),
        ] {
            assert_eq!(MetricsQuery::parse(query).unwrap().canonical(), canonical);
            let again = MetricsQuery::parse(canonical).unwrap().canonical();
            assert_eq!(again, canonical, "it can be asked for");
        }
        let limit = "smtp".parse().unwrap();
        let mut query = MetricsQuery::parse("metrics=a").unwrap();
        query.selection = query.selection.within(&limit);
        assert_eq!(query.canonical(), "interval=30&metrics=a within metrics=smtp");
        query.selection = Selection::everything().within(&limit);
        assert_eq!(query.canonical(), "interval=30 within metrics=smtp");
    }

    #[test]
    fn lists() {
        let query = SubscribersQuery::parse("after=7&limit=25&token=x").unwrap();
        assert_eq!((query.after.map(|id| id.to_string()), query.limit), (Some("7".into()), 25));
        assert_eq!(SubscribersQuery::parse(""), Ok(SubscribersQuery::default()));
        for (query, parameter, fault) in [
            ("limit=0", "limit", QueryFault::NotALimit),
            ("limit=1001", "limit", QueryFault::NotALimit),
            ("limit=", "limit", QueryFault::NotALimit),
            ("after=-1", "after", QueryFault::NotASubscriber),
            ("after=1&after=1", "after", QueryFault::Repeated),
            ("offset=1", "offset", QueryFault::UnknownOfList),
        ] {
            assert_eq!(SubscribersQuery::parse(query), Err(fault.of(parameter)), "{query}");
        }
    }

    #[test]
    fn intervals() {
        let parse = |text: &str| MetricsQuery::parse(&format!("interval={text}"));
        for (text, milliseconds) in [
            ("1", 1000),
            ("0.1", 100),
            ("500ms", 500),
            ("2s", 2000),
            ("1m", 60_000),
            ("3600", 3_600_000),
            ("0.1009", 100),
        ] {
            assert_eq!(
                parse(text).unwrap().interval,
                Duration::from_millis(milliseconds),
                "{text}"
            );
        }
        for text in ["0", "-1", "NaN", "1e99", "inf", "0.09", "3601", "2h", "", "soon", "-2s"] {
            assert_eq!(parse(text), Err(QueryFault::NotAnInterval.of("interval")), "{text}");
        }
        assert_eq!(MetricsQuery::parse("").unwrap().interval, DEFAULT_INTERVAL);
        assert_eq!(MetricsQuery::parse("metric=x"), Err(QueryFault::UnknownParameter.of("metric")));
    }
}
