//! Numbers with their units (UCUM), as people read them: `39.5 MiB`, `12 ms`, `1,234`.

use indicatif::HumanCount;
use serde_json::Number;

/// A value. Whole numbers keep all their digits, unless their unit has larger ones.
pub(super) fn quantity(value: &Number, unit: &str) -> String {
    let (number, unit) = (value.as_f64().unwrap_or_default(), ucum(unit));
    match unit {
        "By" => bytes(number),
        "s" | "ms" | "us" | "ns" | "min" | "h" | "d" => duration(number * seconds_in(unit)),
        _ => {
            let number = match value.as_u64() {
                Some(whole) => HumanCount(whole).to_string(),
                None => plain(number),
            };
            // A ratio has none to show, and what stands in braces only annotates.
            let unit = if unit == "1" || unit.starts_with('{') { "" } else { unit };
            if unit.is_empty() { number } else { format!("{number} {unit}") }
        }
    }
}

/// So much a second.
pub(super) fn rate(number: f64, unit: &str) -> String {
    let number = if ucum(unit) == "By" { bytes(number) } else { plain(number) };
    format!("{number}/s")
}

/// What UCUM calls a unit that some spell out.
fn ucum(unit: &str) -> &str {
    match unit {
        "bytes" => "By",
        "seconds" => "s",
        "milliseconds" => "ms",
        "microseconds" => "us",
        "nanoseconds" => "ns",
        unit => unit,
    }
}

fn seconds_in(unit: &str) -> f64 {
    match unit {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => 1.0,
    }
}

fn bytes(number: f64) -> String {
    scaled(number, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"])
}

fn duration(seconds: f64) -> String {
    let size = seconds.abs();
    if size >= 172_800.0 {
        format!("{} d", plain(seconds / 86_400.0))
    } else if size >= 7200.0 {
        format!("{} h", plain(seconds / 3600.0))
    } else if size >= 120.0 {
        format!("{} min", plain(seconds / 60.0))
    } else if size >= 1.0 || size == 0.0 {
        format!("{} s", plain(seconds))
    } else {
        scaled(seconds * 1e9, 1000.0, &["ns", "µs", "ms"])
    }
}

fn scaled(mut number: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    // What would be rounded up to a whole step is one of the next unit.
    while number.abs() >= step * 0.9995 && unit + 1 < units.len() {
        number /= step;
        unit += 1;
    }
    format!("{} {}", plain(number), units[unit])
}

/// With three digits at least, and no more behind the point than that takes.
fn plain(number: f64) -> String {
    let size = number.abs();
    let decimals = match size {
        0.0 => 0,
        _ if size >= 1e15 => return format!("{number:e}"),
        _ if size >= 99.95 => 0,
        _ if size >= 9.995 => 1,
        _ if size >= 0.0995 => 2,
        _ if size >= 0.000_05 => 4,
        _ => return format!("{number:.1e}"),
    };
    let text = format!("{number:.decimals$}");
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    match digits.parse::<u64>() {
        Ok(whole) => format!("{sign}{}", HumanCount(whole)),
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, unit: &str, expected: &str) {
        assert_eq!(quantity(&serde_json::from_str(value).unwrap(), unit), expected);
    }

    #[test]
    fn counts_keep_their_digits() {
        check("0", "", "0");
        check("1234567", "", "1,234,567");
        check("18446744073709551615", "{event}", "18,446,744,073,709,551,615");
        check("-1234.5", "", "-1,234");
    }

    #[test]
    fn numbers_are_short() {
        check("0.5", "1", "0.5");
        check("0.123456", "1", "0.12");
        check("0.00123", "1", "0.0012");
        check("0.00061", "1", "0.0006");
        check("0.0000123", "1", "1.2e-5");
        check("99.96", "%", "100 %");
        check("3.14159", "rad", "3.14 rad");
        check("1e300", "", "1e300");
    }

    #[test]
    fn bytes_and_times_have_the_unit_that_fits() {
        check("41373696", "By", "39.5 MiB");
        check("1023", "By", "1,023 B");
        check("1048575", "By", "1 MiB");
        check("9", "ms", "9 ms");
        check("186", "milliseconds", "186 ms");
        check("2048", "bytes", "2 KiB");
        check("1500", "ms", "1.5 s");
        check("0.25", "us", "250 ns");
        check("119", "s", "119 s");
        check("3600", "s", "60 min");
        check("1000000", "s", "11.6 d");
        check("0", "s", "0 s");
    }

    #[test]
    fn rates_are_by_the_second() {
        assert_eq!(rate(3.2, ""), "3.2/s");
        assert_eq!(rate(2048.0, "By"), "2 KiB/s");
    }
}
