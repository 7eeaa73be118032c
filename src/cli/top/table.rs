//! Series as a table: which, in which order, in columns of which widths, and what a trend looks like. Pure.

use std::collections::VecDeque;
use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use super::board::{Board, Series};

/// From low to high.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub(super) const TITLES: [&str; 4] = ["NAME", "ATTRIBUTES", "VALUE", "RATE"];

/// What comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Order {
    #[default]
    Name,
    Value,
    Rate,
}

impl Order {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Value => "value",
            Self::Rate => "rate",
        }
    }
}

/// The series to show, in order.
pub(super) fn rows<'a>(board: &'a Board, filter: &str, order: Order) -> Vec<&'a Series> {
    let filter = filter.to_lowercase();
    let mut rows: Vec<_> = board.series().filter(|series| series.matches(&filter)).collect();
    match order {
        Order::Name => {}
        // Where they are equal, by name: the sort is stable.
        Order::Value => rows.sort_by(|a, b| b.size.total_cmp(&a.size)),
        Order::Rate => rows.sort_by(|a, b| b.pace.total_cmp(&a.pace)),
    }
    rows
}

/// The texts of a row.
pub(super) fn cells(series: &Series) -> [&str; 4] {
    [&series.name, &series.attributes, &series.value, &series.rate]
}

/// How wide each column is, so that all of its texts have room. One without any text has no width.
pub(super) fn widths(rows: &[&Series]) -> [usize; 4] {
    let mut widths = [0; 4];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(cells(row)) {
            *width = (*width).max(cell.width());
        }
    }
    for (width, title) in widths.iter_mut().zip(TITLES) {
        if *width > 0 {
            *width = (*width).max(title.len());
        }
    }
    widths
}

/// The table as text.
pub(super) fn as_text(rows: &[&Series]) -> String {
    let widths = widths(rows);
    let mut text = String::new();
    for row in std::iter::once(TITLES).chain(rows.iter().map(|row| cells(row))) {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            if width == 0 {
                continue;
            }
            let blanks = " ".repeat(width - cell.width().min(width));
            let is_number = column >= 2;
            let cell = if is_number { [&*blanks, cell] } else { [cell, &*blanks] };
            write!(line, "{}{}  ", cell[0], cell[1]).expect("a String takes everything");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The last values as bars, the newest at the right.
pub(super) fn sparkline(trend: &VecDeque<f64>, from_zero: bool, width: usize) -> String {
    let shown = || trend.iter().skip(trend.len().saturating_sub(width)).copied();
    let highest = shown().fold(f64::NEG_INFINITY, f64::max);
    let lowest = if from_zero { 0.0 } else { shown().fold(f64::INFINITY, f64::min) };
    let range = highest - lowest;
    let bar = |value: f64| {
        let share = if range > 0.0 { (value - lowest) / range } else { 0.0 };
        let step = (share * (BARS.len() - 1) as f64).round();
        BARS[(step as usize).min(BARS.len() - 1)]
    };
    shown().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const FRAME: &str = r#"[{"id":"b","type":"counter","value":7,"rate":0.5},{"id":"a","type":"gauge","value":900,"attributes":{"host.name":"Web1"}},
        {"id":"long.name","type":"counter","value":1234567,"rate":10}]"#;

    fn board() -> Board {
        let mut board = Board::default();
        board.take(FRAME, Instant::now()).unwrap();
        board
    }

    #[track_caller]
    fn check_rows(filter: &str, order: Order, expected: &[&str]) {
        let board = board();
        let names: Vec<_> = rows(&board, filter, order).iter().map(|row| &*row.name).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn rows_are_chosen_and_sorted() {
        check_rows("", Order::Name, &["a", "b", "long.name"]);
        check_rows("", Order::Value, &["long.name", "a", "b"]);
        check_rows("", Order::Rate, &["long.name", "b", "a"]);
        check_rows("NAME", Order::Name, &["a", "long.name"]);
        check_rows("web1", Order::Name, &["a"]);
        check_rows("none", Order::Name, &[]);
    }

    #[test]
    fn text_is_aligned() {
        let board = board();
        let expected = "\
NAME       ATTRIBUTES          VALUE   RATE
a          host.name=Web1        900
b                                  7  0.5/s
long.name                  1,234,567   10/s
";
        assert_eq!(as_text(&rows(&board, "", Order::Name)), expected);
        let expected = "NAME           VALUE  RATE\nlong.name  1,234,567  10/s\n";
        assert_eq!(as_text(&rows(&board, "long", Order::Name)), expected, "no empty columns");
    }

    #[track_caller]
    fn check_trend(values: &[f64], from_zero: bool, width: usize, expected: &str) {
        assert_eq!(sparkline(&values.iter().copied().collect(), from_zero, width), expected);
    }

    #[test]
    fn trends_have_a_scale() {
        check_trend(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], true, 9, "▁▂▃▄▅▆▇█");
        check_trend(&[100.0, 101.0, 102.0], false, 2, "▁█");
        check_trend(&[7.0, 7.0], false, 9, "▁▁");
        check_trend(&[7.0, 7.0], true, 9, "██");
        check_trend(&[0.0, 0.0], true, 9, "▁▁");
        check_trend(&[f64::NAN, 1.0], false, 9, "▁▁");
        check_trend(&[], true, 9, "");
    }
}
