//! Numbers and times as people read them.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::clock::Timestamp;

/// What is encoded in a path: its slashes are not, nor the parentheses of `Streams(…)`.
const IN_PATH: &AsciiSet = &crate::names::IN_URL.remove(b'(').remove(b')').remove(b'/');
/// Bytes of a line of [`hex`].
const HEX_LINE: usize = 16;

/// A whole number, or a reference to one: templates hand over both.
pub(crate) trait Figure {
    fn figure(&self) -> i64;
}

impl Figure for i64 {
    fn figure(&self) -> i64 {
        *self
    }
}

impl Figure for u64 {
    fn figure(&self) -> i64 {
        i64::try_from(*self).unwrap_or(i64::MAX)
    }
}

impl Figure for usize {
    fn figure(&self) -> i64 {
        i64::try_from(*self).unwrap_or(i64::MAX)
    }
}

impl<T: Figure> Figure for &T {
    fn figure(&self) -> i64 {
        (*self).figure()
    }
}

/// `1.5 MB`
pub(crate) fn bytes(count: impl Figure) -> String {
    let count = u64::try_from(count.figure()).unwrap_or(0);
    scaled(count, &["B", "kB", "MB", "GB", "TB"])
}

/// `1.5 Mb/s`
pub(crate) fn bit_rate(rate: u64) -> String {
    scaled(rate, &["b/s", "kb/s", "Mb/s", "Gb/s"])
}

fn scaled(count: u64, units: &[&str]) -> String {
    let (mut tenths, mut unit) = (count.saturating_mul(10), 0);
    while tenths >= 10_000 && unit + 1 < units.len() {
        tenths /= 1000;
        unit += 1;
    }
    let name = units.get(unit).copied().unwrap_or_default();
    if unit == 0 || tenths >= 1000 {
        format!("{} {name}", tenths / 10)
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

/// `1 234 567`, with thin spaces.
pub(crate) fn number(count: impl Figure) -> String {
    let digits = count.figure().to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) && grouped != "-" {
            grouped.push('\u{2009}');
        }
        grouped.push(digit);
    }
    grouped
}

/// `12 s ago`
pub(crate) fn ago(time: &Timestamp) -> String {
    let elapsed = time.elapsed();
    if elapsed < Duration::from_secs(2) {
        return "now".to_owned();
    }
    format!("{} ago", span(elapsed.as_secs()))
}

/// The largest unit of a length of time: `3 h`.
pub(crate) fn span(seconds: impl Figure) -> String {
    let seconds = seconds.figure();
    match seconds {
        ..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `2026-11-21T12:00:00.5Z`
pub(crate) fn rfc3339(time: &Timestamp) -> String {
    time.to_rfc3339()
}

/// `12:00:00.500`, in UTC.
pub(crate) fn clock(time: &Timestamp) -> String {
    let text = time.to_rfc3339();
    let of_day = text.split_once('T').map_or(text.as_str(), |(_, time)| time);
    let (whole, fraction) = of_day
        .trim_end_matches('Z')
        .split_once('.')
        .unwrap_or((of_day.trim_end_matches('Z'), ""));
    let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
    format!("{whole}.{thousandths}")
}

/// How long something took: `12 ms`, `3.2 s`.
pub(crate) fn took(from: &Timestamp, to: &Timestamp) -> String {
    let micros = to.as_micros().saturating_sub(from.as_micros()).max(0);
    match micros {
        0..=999_999 => format!("{} ms", micros / 1000),
        _ => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}

/// A path as it is written in an address.
pub(crate) fn in_path(path: &str) -> String {
    utf8_percent_encode(path, IN_PATH).to_string()
}

/// A value as it is written in a query.
pub(crate) fn in_query(value: &str) -> String {
    utf8_percent_encode(value, NON_ALPHANUMERIC).to_string()
}

/// The beginning of a fingerprint.
pub(crate) fn short(fingerprint: &str) -> String {
    fingerprint.chars().take(12).collect()
}

/// Bytes as a hexadecimal dump shows them.
pub(crate) struct HexLine {
    pub(crate) offset: String,
    pub(crate) digits: String,
    pub(crate) text: String,
}

/// A dump of bytes that begin at `offset`.
pub(crate) fn hex(bytes: &[u8], offset: u64) -> Vec<HexLine> {
    let line = |(number, line): (u64, &[u8])| HexLine {
        offset: format!(
            "{:08x}",
            offset.saturating_add(number.saturating_mul(HEX_LINE as u64))
        ),
        digits: line
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<Vec<_>>()
            .join(" "),
        text: line
            .iter()
            .map(|byte| {
                if byte.is_ascii_graphic() || *byte == b' ' {
                    char::from(*byte)
                } else {
                    '·'
                }
            })
            .collect(),
    };
    (0..).zip(bytes.chunks(HEX_LINE)).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_or_less_and_a_unit() {
        for (count, expected) in [
            (0_u64, "0 B"),
            (999, "999 B"),
            (1_500, "1.5 kB"),
            (123_456, "123 kB"),
            (99_990_000, "99.9 MB"),
        ] {
            assert_eq!(bytes(count), expected);
        }
        assert_eq!(bit_rate(2_500_000), "2.5 Mb/s");
        assert_eq!(number(1_234_567_i64), "1\u{2009}234\u{2009}567");
        assert_eq!(number(-123_i64), "-123");
    }

    #[test]
    fn times_are_short() {
        let (from, to) = (Timestamp::from_micros(0), Timestamp::from_micros(3_250_000));
        assert_eq!(took(&from, &to), "3.2 s");
        assert_eq!(clock(&to), "00:00:03.250");
        assert_eq!(span(7200_i64), "2 h");
    }

    #[test]
    fn addresses_carry_any_path() {
        assert_eq!(in_path("a b/ü#?.m4s"), "a%20b/%C3%BC%23%3F.m4s");
        assert_eq!(in_path("Streams(v.cmfv)"), "Streams(v.cmfv)");
    }

    #[test]
    fn a_dump_has_sixteen_bytes_a_line() {
        let lines = hex(&[b'a'; 17], 0x20);
        assert_eq!((lines.len(), lines[1].offset.as_str()), (2, "00000030"));
        assert_eq!(lines[1].digits, "61");
    }
}
