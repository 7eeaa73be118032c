//! What a person sees of the metrics, and what their keys do to it. Draws; knows no terminal and no network.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use tokio::time::Instant;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::board::{Board, MAX_HISTORY, Series};
use super::table::{self, Order, TITLES};
use crate::cli::harmless::harmless;
use crate::cli::live::{Bye, Update};

const FAINT: Style = Style::new().add_modifier(Modifier::DIM);
const TITLE: Style = Style::new().add_modifier(Modifier::BOLD);
const RATE: Style = Style::new().fg(Color::Cyan);
const TREND: Style = Style::new().fg(Color::Green);
const TROUBLE: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const MARKED: Style = Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD);

const KEYS: &str = "/ filter  s sort  space pause  q quit";

/// Between columns.
const SPACE: usize = 2;

/// A trend that has less room says nothing.
const NARROWEST_TREND: usize = 8;

/// A screen with room for more than names and values.
const WIDE: usize = 80;

/// So much of the attributes, or nothing.
const NARROWEST_ATTRIBUTES: usize = 8;

/// Attributes make room for as much of the trend.
const USUAL_TREND: usize = 20;

/// What a key has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaction {
    GoOn,
    End,
}

/// How the connection fares.
#[derive(Debug)]
enum Connection {
    Connecting,
    Open,
    Away { reason: String, until: Instant },
}

/// All that is shown.
#[derive(Debug)]
pub(super) struct Screen {
    hub: String,
    interval: String,
    board: Board,
    /// What is shown while it is paused.
    paused: Option<Board>,
    order: Order,
    filter: String,
    is_typing: bool,
    /// The first row shown.
    first: usize,
    /// How many were shown.
    page: usize,
    /// The widest that columns have been, so that they stand still.
    widths: [usize; 4],
    connection: Connection,
    trouble: Option<String>,
}

impl Screen {
    pub(super) fn new(hub: String, interval: String, order: Order) -> Self {
        Self {
            hub,
            interval: harmless(&interval).into_owned(),
            board: Board::default(),
            paused: None,
            order,
            filter: String::new(),
            is_typing: false,
            first: 0,
            page: 1,
            widths: [0; 4],
            connection: Connection::Connecting,
            trouble: None,
        }
    }

    /// Takes what has happened to the stream.
    pub(super) fn update(&mut self, update: Update, now: Instant) {
        match update {
            Update::Open { .. } => self.connection = Connection::Open,
            Update::Away { reason, wait } => {
                let reason = self.trouble.take().unwrap_or(reason);
                self.connection = Connection::Away { reason, until: now + wait };
            }
            Update::Frame(frame) => match frame.kind.as_str() {
                "metrics" => {
                    let taken = self.board.take(&frame.data, now);
                    self.trouble = taken.err().map(|_| "the hub sent no metrics".to_owned());
                }
                "bye" => {
                    let bye: Bye = serde_json::from_str(&frame.data).unwrap_or_default();
                    self.trouble = Some(format!("the hub ended the stream: {}", bye.reason));
                }
                _ => {}
            },
            Update::Refused(_) => {}
        }
    }

    /// Takes what was typed.
    pub(super) fn event(&mut self, event: &Event) -> Reaction {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(key),
            _ => Reaction::GoOn,
        }
    }

    fn key(&mut self, key: &KeyEvent) -> Reaction {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if is_control => return Reaction::End,
            KeyCode::Char(c) if self.is_typing => self.filter_by(|filter| filter.push(c)),
            KeyCode::Backspace if self.is_typing => self.filter_by(|filter| {
                filter.pop();
            }),
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.filter_by(String::clear);
                self.is_typing = false;
            }
            KeyCode::Char('q') => return Reaction::End,
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char('s') => self.next_order(),
            KeyCode::Char(' ') => self.toggle_pause(),
            KeyCode::Down | KeyCode::Char('j') => self.first = self.first.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.first = self.first.saturating_sub(1),
            KeyCode::PageDown => self.first = self.first.saturating_add(self.page),
            KeyCode::PageUp => self.first = self.first.saturating_sub(self.page),
            KeyCode::Home | KeyCode::Char('g') => self.first = 0,
            KeyCode::End | KeyCode::Char('G') => self.first = usize::MAX,
            _ => {}
        }
        Reaction::GoOn
    }

    fn filter_by(&mut self, change: impl FnOnce(&mut String)) {
        change(&mut self.filter);
        (self.first, self.widths) = (0, [0; 4]);
    }

    fn next_order(&mut self) {
        self.order = match self.order {
            Order::Name => Order::Value,
            Order::Value => Order::Rate,
            Order::Rate => Order::Name,
        };
        self.first = 0;
    }

    fn toggle_pause(&mut self) {
        self.paused = match self.paused {
            Some(_) => None,
            None => Some(self.board.clone()),
        };
    }

    /// Draws all of it.
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, now: Instant) {
        let areas = [Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)];
        let [head, body, foot] = Layout::vertical(areas).areas(frame.area());
        let board = self.paused.as_ref().unwrap_or(&self.board);
        let rows = table::rows(board, &self.filter, self.order);

        for (widest, width) in self.widths.iter_mut().zip(table::widths(&rows)) {
            *widest = (*widest).max(width);
        }
        // The first line are the titles.
        self.page = usize::from(body.height.saturating_sub(1)).max(1);
        self.first = self.first.min(rows.len().saturating_sub(self.page));
        let columns = Columns::fit(self.widths, body.width.into());
        let shown = rows.iter().skip(self.first).take(self.page);
        let mut lines = vec![columns.titles()];
        lines.extend(shown.map(|series| columns.row(series)));
        if rows.is_empty() {
            lines = vec![Line::styled(self.nothing(board), FAINT)];
        }

        frame.render_widget(ratatui::text::Text::from(lines), body);
        let count = rows.len();
        let summary = format!("{count} series by {}", self.order.name());
        both_sides(frame, head, self.title(), Line::raw(summary));
        both_sides(frame, foot, self.status(now), Line::styled(KEYS, FAINT));
    }

    fn title(&self) -> Line<'_> {
        let hub = format!(" {} every {}", self.hub, self.interval);
        Line::from(vec![Span::styled("telemetry-hub top", TITLE), Span::raw(hub)])
    }

    fn nothing(&self, board: &Board) -> &'static str {
        if board.is_empty() {
            "waiting for the first metrics"
        } else if self.filter.is_empty() {
            "the hub has no such metrics, so far"
        } else {
            "nothing with this in its name or its attributes"
        }
    }

    fn status(&self, now: Instant) -> Line<'_> {
        let filter = harmless(&self.filter).into_owned();
        let mut spans = match &self.connection {
            _ if self.is_typing => return Line::styled(format!("/{filter}▏"), MARKED),
            Connection::Connecting => vec![Span::raw("connecting")],
            Connection::Open => match &self.trouble {
                Some(trouble) => vec![Span::styled(harmless(trouble), TROUBLE)],
                None => vec![Span::styled("live", TREND)],
            },
            Connection::Away { reason, until } => {
                let seconds = (*until - now).as_secs_f64().ceil();
                let reason = format!("{}; trying again in {seconds} s", harmless(reason));
                vec![Span::styled(reason, TROUBLE)]
            }
        };
        if self.paused.is_some() {
            spans.insert(0, Span::styled("paused  ", MARKED));
        }
        if !filter.is_empty() {
            spans.push(Span::styled(format!("  /{filter}"), MARKED));
        }
        Line::from(spans)
    }
}

/// One at the left and one at the right; where there is not enough room, the left one alone.
fn both_sides(frame: &mut Frame<'_>, area: Rect, left: Line<'_>, right: Line<'_>) {
    let has_room = left.width() + SPACE + right.width() <= area.width.into();
    frame.render_widget(left, area);
    if has_room {
        frame.render_widget(right.right_aligned(), area);
    }
}

/// How wide the columns are: those of the table, and that of the trend, which gets what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Columns {
    widths: [usize; 4],
    trend: usize,
}

impl Columns {
    fn fit(wanted: [usize; 4], total: usize) -> Self {
        let [name, attributes, value, rate] = wanted;
        let with_space = |width: usize| if width > 0 { width + SPACE } else { 0 };
        // Names come first, but not so that nothing of the values is seen.
        let name = name.min((total / 2).max(total.saturating_sub(with_space(value))));
        let mut left = total.saturating_sub(with_space(name));
        let take = |left: &mut usize, wanted: usize, spared: usize| {
            let width = wanted.min(left.saturating_sub(spared));
            *left = left.saturating_sub(with_space(width));
            width
        };
        // Where there are attributes, the longest values leave them some of a wide screen.
        let spared = if attributes > 0 && total >= WIDE { left / 2 } else { 0 };
        let value = take(&mut left, value, spared);
        let rate = if rate + SPACE <= total / 3 { take(&mut left, rate, 0) } else { 0 };
        let has_room = left >= NARROWEST_ATTRIBUTES + 2 * SPACE + USUAL_TREND;
        let attributes =
            if has_room { take(&mut left, attributes, USUAL_TREND + SPACE) } else { 0 };
        let trend = if left < NARROWEST_TREND { 0 } else { left.min(MAX_HISTORY) };
        Self { widths: [name, attributes, value, rate], trend }
    }

    fn titles(&self) -> Line<'static> {
        let mut spans = self.cells(TITLES, [FAINT; 4]);
        if self.trend > 0 {
            spans.push(Span::styled("TREND", FAINT));
        }
        Line::from(spans)
    }

    fn row(&self, series: &Series) -> Line<'static> {
        // What moves is what one looks for.
        let rate = if series.pace > 0.0 { RATE } else { FAINT };
        let mut spans = self.cells(table::cells(series), [Style::new(), FAINT, TITLE, rate]);
        let is_flat = series.trend.iter().all(|value| *value == series.trend[0]);
        let trend = table::sparkline(&series.trend, series.from_zero, self.trend);
        spans.push(Span::styled(trend, if is_flat { FAINT } else { TREND }));
        Line::from(spans)
    }

    fn cells(&self, texts: [&str; 4], styles: [Style; 4]) -> Vec<Span<'static>> {
        let mut spans = Vec::new();
        for (column, width) in self.widths.into_iter().enumerate().filter(|(_, width)| *width > 0) {
            let text = clipped(texts[column], width);
            let blanks = " ".repeat(width - text.width());
            let is_number = column >= 2;
            let cell = if is_number { blanks + &text } else { text + &blanks };
            spans.push(Span::styled(cell, styles[column]));
            spans.push(Span::raw(" ".repeat(SPACE)));
        }
        spans
    }
}

/// As much of a text as there is room for.
fn clipped(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut shown = String::new();
    let mut left = width.saturating_sub(1);
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if wide > left {
            break;
        }
        left -= wide;
        shown.push(c);
    }
    shown + "…"
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::cli::live::Frame as LiveFrame;

    const METRICS: &str = r#"[{"id":"dns.lookup-time","type":"histogram","count":7,"p50":9,"p99":39,"unit":"ms"},
        {"id":"server.memory","type":"gauge","value":41373696,"unit":"By","attributes":{"host":"a"}},
        {"id":"smtp.in","type":"counter","value":1234,"rate":3.2}]"#;

    fn frame(kind: &str, data: &str) -> Update {
        let (kind, data) = (kind.to_owned(), data.to_owned());
        Update::Frame(LiveFrame { kind, data, id: String::new() })
    }

    fn screen() -> Screen {
        let mut screen = Screen::new("http://hub".to_owned(), "2s".to_owned(), Order::Name);
        screen.update(Update::Open { after: None }, Instant::now());
        screen.update(frame("metrics", METRICS), Instant::now());
        screen
    }

    fn press(screen: &mut Screen, keys: &str) {
        for c in keys.chars() {
            let code = match c {
                '\n' => KeyCode::Enter,
                '\x1b' => KeyCode::Esc,
                c => KeyCode::Char(c),
            };
            let event = Event::Key(KeyEvent::new(code, KeyModifiers::NONE));
            assert_eq!(screen.event(&event), Reaction::GoOn, "{c}");
        }
    }

    #[track_caller]
    fn check(screen: &mut Screen, width: u16, height: u16, expected: &[&str]) {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| screen.draw(frame, Instant::now())).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        let rows: Vec<_> = (0..height).map(|y| row(y).trim_end().to_owned()).collect();
        assert_eq!(rows, expected);
    }

    #[test]
    fn table_fills_its_screen() {
        check(
            &mut screen(),
            82,
            6,
            &[
                "telemetry-hub top http://hub every 2s                             3 series by name",
                "NAME             ATTRIBUTES                VALUE   RATE  TREND",
                "dns.lookup-time              p50 9 ms  p99 39 ms         ▁",
                "server.memory    host=a                 39.5 MiB         ▁",
                "smtp.in                                    1,234  3.2/s  █",
                "live                                         / filter  s sort  space pause  q quit",
            ],
        );
    }

    #[test]
    fn one_long_value_hides_no_attributes_of_a_wide_screen() {
        let long = Columns::fit([20, 30, 90, 6], 120);
        assert_eq!(long, Columns { widths: [20, 17, 49, 6], trend: 20 });
    }

    #[test]
    fn narrow_screens_keep_names_and_values() {
        check(
            &mut screen(),
            34,
            5,
            &[
                "telemetry-hub top http://hub every",
                "NAME                         VALUE",
                "dns.lookup-time  p50 9 ms  p99 39…",
                "server.memory             39.5 MiB",
                "live",
            ],
        );
    }

    #[track_caller]
    fn check_names(screen: &mut Screen, expected: &[&str]) {
        let mut terminal = Terminal::new(TestBackend::new(80, 4)).unwrap();
        terminal.draw(|frame| screen.draw(frame, Instant::now())).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| (0..15).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        let names: Vec<_> = (2..3).map(|y| row(y).trim_end().to_owned()).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn keys_filter_sort_and_scroll() {
        let mut screen = screen();
        check_names(&mut screen, &["dns.lookup-time"]);
        press(&mut screen, "/S.IN");
        assert_eq!(screen.status(Instant::now()).to_string(), "/S.IN▏");
        check(
            &mut screen,
            30,
            3,
            &["telemetry-hub top http://hub e", "nothing with this in its name", "/S.IN▏"],
        );
        press(&mut screen, "\x1b/q\n");
        assert_eq!(screen.status(Instant::now()).to_string(), "live  /q");
        press(&mut screen, "\x1bs");
        check_names(&mut screen, &["server.memory"]);
        press(&mut screen, "jjjjjj");
        check_names(&mut screen, &["dns.lookup-time"]);
        press(&mut screen, "kg");
        check_names(&mut screen, &["server.memory"]);
        press(&mut screen, "s");
        check_names(&mut screen, &["smtp.in"]);
        for key in
            [KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL), KeyCode::Char('q').into()]
        {
            assert_eq!(screen.event(&Event::Key(key)), Reaction::End);
        }
    }

    #[test]
    fn a_pause_holds_what_was_shown_and_loses_nothing() {
        let mut screen = screen();
        press(&mut screen, " ");
        screen.update(frame("metrics", r#"[{"id":"new","value":1}]"#), Instant::now());
        check_names(&mut screen, &["dns.lookup-time"]);
        assert_eq!(screen.status(Instant::now()).to_string(), "paused  live");
        press(&mut screen, " ");
        check_names(&mut screen, &["new"]);
    }

    #[test]
    fn a_connection_that_is_lost_is_told() {
        let mut screen = screen();
        let now = Instant::now();
        let wait = Duration::from_secs(3);
        screen.update(Update::Away { reason: "cannot reach it\u{1b}".to_owned(), wait }, now);
        let line = screen.status(now).to_string();
        assert_eq!(line, r"cannot reach it\u001b; trying again in 3 s");
        screen.update(Update::Open { after: None }, now);
        assert_eq!(screen.status(now).to_string(), "live");
        screen.update(frame("bye", r#"{"reason":"shutdown"}"#), now);
        screen.update(Update::Away { reason: "it ended".to_owned(), wait }, now);
        let line = screen.status(now).to_string();
        assert_eq!(line, "the hub ended the stream: shutdown; trying again in 3 s");
    }
}
