//! Events as lines for people: time, level, type, text and `key=value`, aligned as far as one can know while they come.
//!
//! Whatever an event brings leaves here harmless and, if it is very long, shortened, which is said. On a terminal a long
//! line goes on below, indented; elsewhere it stays one line.

use anstyle::{AnsiColor, Style};
use serde_json::value::RawValue;
use telemetry_hub_actors::Key;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::event::{TailEvent, plain};
use crate::cli::harmless::{is_harmful, push_harmless};

/// Of a longer text or value the rest is counted only: no terminal is for reading more.
const MAX_VALUE_CHARS: usize = 1000;

/// Of an event with more members the rest is counted only.
const MAX_PAIRS: usize = 200;

/// Columns grow with what comes, so far.
const MAX_TYPE_WIDTH: usize = 30;
const MAX_KEY_WIDTH: usize = 40;

/// A time to the nanosecond.
const MAX_TIME_WIDTH: usize = 30;
/// `ERROR`.
const MAX_LEVEL_WIDTH: usize = 5;

/// Where a line goes on, on a terminal too narrow for the place below its type.
const SMALL_INDENT: usize = 4;

const FAINT: Style = Style::new().dimmed();
const KIND: Style = Style::new().bold();
const KEY: Style = AnsiColor::Cyan.on_default();
const NOTICE: Style = AnsiColor::Magenta.on_default();

/// How lines look, and what has been learnt of the widths of their columns.
#[derive(Debug)]
pub(super) struct Layout {
    has_colours: bool,
    keys: Option<Vec<Column>>,
    time_width: usize,
    level_width: usize,
    type_width: usize,
}

/// A key that was asked for by name.
#[derive(Debug)]
struct Column {
    name: String,
    key: Key,
    width: usize,
}

impl Layout {
    pub(super) fn new(has_colours: bool, keys: Option<Vec<(String, Key)>>) -> Self {
        let column = |(name, key)| Column { name, key, width: 0 };
        let keys = keys.map(|keys| keys.into_iter().map(column).collect());
        Self { has_colours, keys, time_width: 0, level_width: 0, type_width: 0 }
    }

    /// Adds the lines of events that came together to `out`; `width` is that of the terminal, if there is one.
    pub(super) fn events(
        &mut self,
        events: &[TailEvent<'_>],
        width: Option<usize>,
        out: &mut String,
    ) {
        for event in events {
            self.make_room(event);
        }
        for event in events {
            self.event(event, width, out);
        }
    }

    /// Widens the columns.
    fn make_room(&mut self, event: &TailEvent<'_>) {
        let widen = |width: &mut usize, text: &str, limit: usize| {
            *width = (*width).max(shortened(text).width().min(limit));
        };
        widen(&mut self.time_width, &event.created_at, MAX_TIME_WIDTH);
        widen(&mut self.level_width, event.level.as_deref().unwrap_or_default(), MAX_LEVEL_WIDTH);
        widen(&mut self.type_width, &event.kind, MAX_TYPE_WIDTH);
        for column in self.keys.iter_mut().flatten() {
            let value = column.value(event);
            widen(&mut column.width, &value, MAX_KEY_WIDTH);
        }
    }

    fn event(&self, event: &TailEvent<'_>, width: Option<usize>, out: &mut String) {
        let level = event.level.as_deref().unwrap_or_default();
        let level_column = if self.level_width > 0 { self.level_width + 1 } else { 0 };
        let indent = self.time_width + 1 + level_column;
        let mut line = Line::new(out, self.has_colours, width, indent);
        line.padded(FAINT, &shortened(&event.created_at), self.time_width);
        if self.level_width > 0 {
            line.padded(level_style(level), &shortened(level), self.level_width);
        }
        line.padded(KIND, &shortened(&event.kind), self.type_width);
        match &self.keys {
            Some(columns) => {
                for column in columns {
                    column.write(event, &mut line);
                }
                line.text(event.text.as_deref());
            }
            None => {
                line.text(event.text.as_deref());
                pairs(event, &mut line);
            }
        }
        line.end();
    }

    /// Adds a line that tells of the stream itself.
    pub(super) fn notice(&self, notice: &str, width: Option<usize>, out: &mut String) {
        let mut line = Line::new(out, self.has_colours, width, SMALL_INDENT);
        line.unit(&[(NOTICE, &format!("--- {notice} ---"))]);
        line.end();
    }
}

impl Column {
    fn value(&self, event: &TailEvent<'_>) -> String {
        event.find(&self.key).map_or_else(|| "-".to_owned(), written)
    }

    fn write(&self, event: &TailEvent<'_>, line: &mut Line<'_>) {
        let (name, value) = (format!("{}=", self.name), self.value(event));
        line.unit(&[(KEY, &name), (Style::new(), &value)]);
        line.pad(self.width.saturating_sub(value.width()));
    }
}

fn pairs(event: &TailEvent<'_>, line: &mut Line<'_>) {
    let pairs = event.pairs();
    for pair in pairs.iter().take(MAX_PAIRS) {
        let (name, value) = (format!("{}=", shortened(&pair.path)), written(pair.value));
        line.unit(&[(KEY, &name), (Style::new(), &value)]);
    }
    if let more @ 1.. = pairs.len().saturating_sub(MAX_PAIRS) {
        line.unit(&[(FAINT, &format!("[{more} more keys]"))]);
    }
}

fn level_style(level: &str) -> Style {
    let colour = match level {
        "TRACE" => return FAINT,
        "DEBUG" => AnsiColor::Blue,
        "WARN" => AnsiColor::Yellow,
        "ERROR" => AnsiColor::Red,
        "FATAL" => return AnsiColor::Red.on_default().bold().invert(),
        _ => AnsiColor::Green,
    };
    colour.on_default()
}

/// A value, in quotes if one could not tell where it ends.
fn written(value: &RawValue) -> String {
    let (plain, is_text) = (plain(value), value.get().starts_with('"'));
    let needs_quotes = |c: char| c == ' ' || c == '"' || is_harmful(c);
    if is_text && (plain.is_empty() || plain.contains(needs_quotes)) {
        let plain = plain.replace('\\', "\\\\").replace('"', "\\\"");
        return format!("\"{}\"", shortened(&plain));
    }
    shortened(&plain)
}

/// The text, harmless, and with a note if it was longer than anybody reads.
fn shortened(text: &str) -> String {
    let mut shown = String::new();
    let mut characters = text.chars();
    for c in characters.by_ref().take(MAX_VALUE_CHARS) {
        push_harmless(&mut shown, c);
    }
    let more = characters.as_str();
    if !more.is_empty() {
        shown += &format!("…[{} more]", bytesize::ByteSize::b(more.len() as u64));
    }
    shown
}

/// A line as it is written.
struct Line<'a> {
    out: &'a mut String,
    has_colours: bool,
    width: Option<usize>,
    indent: usize,
    /// How far it has come, and whether something stands there already.
    column: usize,
    is_fresh: bool,
    /// Blanks that are written only if something follows.
    padding: usize,
}

impl<'a> Line<'a> {
    fn new(out: &'a mut String, has_colours: bool, width: Option<usize>, indent: usize) -> Self {
        // Half of a line at least must be left for what is to be read.
        let is_wide = width.is_none_or(|width| width >= 2 * indent);
        let indent = if is_wide { indent } else { SMALL_INDENT };
        Self { out, has_colours, width, indent, column: 0, is_fresh: true, padding: 0 }
    }

    /// Something in a column of this width.
    fn padded(&mut self, style: Style, text: &str, width: usize) {
        self.unit(&[(style, text)]);
        self.pad(width.saturating_sub(text.width()));
    }

    fn pad(&mut self, blanks: usize) {
        self.padding += blanks;
    }

    /// A text; on a terminal it may be parted where there are blanks.
    fn text(&mut self, text: Option<&str>) {
        let Some(text) = text else { return };
        let text = shortened(text);
        if self.width.is_none() {
            return self.unit(&[(Style::new(), &text)]);
        }
        for word in text.split(' ') {
            self.unit(&[(Style::new(), word)]);
        }
    }

    /// Something that stays together if it can, after a blank.
    fn unit(&mut self, parts: &[(Style, &str)]) {
        let wanted: usize = parts.iter().map(|(_, text)| text.width()).sum();
        if !self.is_fresh {
            let blanks = self.padding + 1;
            if self.width.is_some_and(|width| self.column + blanks + wanted > width) {
                self.go_on_below();
            } else {
                self.blanks(blanks);
            }
        }
        (self.padding, self.is_fresh) = (0, false);
        for (style, text) in parts {
            self.write(*style, text);
        }
    }

    fn write(&mut self, style: Style, text: &str) {
        if text.is_empty() {
            return;
        }
        let styled = self.has_colours && style != Style::new();
        if styled {
            self.out.push_str(&style.render().to_string());
        }
        for c in text.chars() {
            let wide = c.width().unwrap_or(0);
            if self.width.is_some_and(|width| self.column + wide > width) {
                self.go_on_below();
            }
            self.out.push(c);
            self.column += wide;
        }
        if styled {
            self.out.push_str(&style.render_reset().to_string());
        }
    }

    fn go_on_below(&mut self) {
        self.out.push('\n');
        self.column = 0;
        self.blanks(self.indent);
    }

    fn blanks(&mut self, count: usize) {
        self.out.extend(std::iter::repeat_n(' ', count));
        self.column += count;
    }

    fn end(self) {
        self.out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(keys: Option<&[&str]>) -> Layout {
        let keys = keys.map(|keys| {
            keys.iter().map(|key| ((*key).to_owned(), Key::new(key).unwrap())).collect()
        });
        Layout::new(false, keys)
    }

    #[track_caller]
    fn check(mut layout: Layout, width: Option<usize>, events: &[&str], expected: &str) {
        let mut out = String::new();
        for event in events {
            layout.events(&[serde_json::from_str(event).unwrap()], width, &mut out);
        }
        assert_eq!(out, expected);
    }

    #[test]
    fn columns_grow_with_what_comes() {
        check(
            layout(None),
            None,
            &[
                r#"{"createdAt":"2026-11-22T10:12:19Z","type":"a.longer-type","level":"WARN","text":"some text","data":{"n":1}}"#,
                r#"{"createdAt":"2026-11-22T10:12:19.123Z","type":"b","data":{"s":"two words","e":"","q":"say \"x\""},"spanId":"7"}"#,
                r#"{"createdAt":"2026-11-22T10:12:19Z","type":"c","level":"ERROR"}"#,
            ],
            "2026-11-22T10:12:19Z WARN a.longer-type some text n=1\n\
             2026-11-22T10:12:19.123Z      b             s=\"two words\" e=\"\" q=\"say \\\"x\\\"\" spanId=7\n\
             2026-11-22T10:12:19Z     ERROR c\n",
        );
    }

    #[test]
    fn keys_that_were_asked_for_stand_in_columns() {
        check(
            layout(Some(&["remote-ip", "n"])),
            None,
            &[
                r#"{"createdAt":"t","type":"a","text":"x y","data":{"n":1,"remoteIp":"10.0.0.10","other":1}}"#,
                r#"{"createdAt":"t","type":"a","text":"z","data":{"remoteIp":"::1"}}"#,
            ],
            "t a remote-ip=10.0.0.10 n=1 x y\n\
             t a remote-ip=::1       n=- z\n",
        );
    }

    #[test]
    fn on_a_terminal_lines_go_on_below() {
        check(
            layout(None),
            Some(26),
            &[
                r#"{"createdAt":"12:00","level":"ERROR","type":"t","text":"one two three","data":{"key":"0123456789abcdef"}}"#,
            ],
            "12:00 ERROR t one two\n            \
                         three\n            \
                         key=0123456789\n            \
                         abcdef\n",
        );
    }

    #[test]
    fn what_an_event_brings_is_harmless() {
        check(
            layout(None),
            None,
            &[
                r#"{"createdAt":"t\u001b[2J","type":"a\nb","level":"\u009b1m","text":"x\u202ey\u0007","data":{"k\u001b":"v\u001b]0;x","o":["\u009b"]}}"#,
            ],
            "t\\u001b[2J \\u009b1m a\\nb x\\u202ey\\u0007 k\\u001b=\"v\\u001b]0;x\" o=[\"\\u009b\"]\n",
        );
    }

    #[test]
    fn what_nobody_reads_is_counted() {
        let event =
            format!(r#"{{"createdAt":"t","type":"a","data":{{"v":"{}"}}}}"#, "x".repeat(1 << 20));
        let expected = format!("t a v={}…[1023.0 KiB more]\n", "x".repeat(MAX_VALUE_CHARS));
        check(layout(None), None, &[&event], &expected);
        let members: Vec<_> = (0..1000).map(|n| format!(r#""k{n}":{n}"#)).collect();
        let event = format!(r#"{{"createdAt":"t","type":"a","data":{{{}}}}}"#, members.join(","));
        let mut out = String::new();
        layout(None).events(&[serde_json::from_str(&event).unwrap()], None, &mut out);
        assert!(out.ends_with("k199=199 [800 more keys]\n"), "{out}");
    }

    #[test]
    fn colours_end_where_they_began() {
        let mut out = String::new();
        let event = r#"{"createdAt":"t","type":"a","level":"ERROR","data":{"k":"v"}}"#;
        Layout::new(true, None).events(&[serde_json::from_str(event).unwrap()], None, &mut out);
        let expected = "\x1b[2mt\x1b[0m \x1b[31mERROR\x1b[0m \x1b[1ma\x1b[0m \x1b[36mk=\x1b[0mv\n";
        assert_eq!(out, expected);
    }
}
