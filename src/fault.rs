//! Faults that the server has on purpose, so that those who make cameras see how theirs retry.
//!
//! ```text
//! --fault 'PATH-REGEX=status:503@10%'
//!          │          │           └── share of the uploads that match: of ten, the tenth
//!          │          └── status:CODE, delay:SPAN, reset, hang
//!          └── found anywhere in the path of the request, /streams/1/session_1/index.mpd
//! ```
//!
//! The share is kept by counting, not by chance, so that a run can be repeated.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use regex::Regex;

use crate::error::Kind;

/// Longest delay that can be asked for.
const LONGEST_DELAY: Duration = Duration::from_secs(600);
/// Largest regular expression, compiled.
const LARGEST_REGEX: usize = 1 << 20;
/// Millionths of a percent: what shares are counted in.
const WHOLE: u64 = 100_000_000;

/// Kinds of errors that can be answered with; each has its status.
const KINDS: [Kind; 13] = [
    Kind::Invalid,
    Kind::Unidentified,
    Kind::Forbidden,
    Kind::NotFound,
    Kind::TimedOut,
    Kind::Conflict,
    Kind::HeaderMissing,
    Kind::TooLarge,
    Kind::Unsupported,
    Kind::Shape,
    Kind::Internal,
    Kind::Busy,
    Kind::StorageFull,
];

/// What is done to an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is turned away with the status of this kind.
    Status(Kind),
    /// It is looked at after this time.
    Delay(Duration),
    /// Its connection is ended instead of an answer.
    Reset,
    /// It is not answered.
    Hang,
}

impl Fault {
    /// As the record of the upload has it.
    pub(crate) fn note(self) -> &'static str {
        match self {
            Self::Status(_) => "injected status",
            Self::Delay(_) => "injected delay",
            Self::Reset => "injected reset",
            Self::Hang => "injected hang",
        }
    }
}

/// All that were asked for; the first that matches and whose turn it is counts.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<[Rule]>);

#[derive(Debug)]
struct Rule {
    written: String,
    path: Regex,
    fault: Fault,
    /// Out of [`WHOLE`].
    share: u64,
    matched: AtomicU64,
}

impl Faults {
    /// Reads rules.
    ///
    /// # Errors
    /// One line of text that says which rule is wrong and what it takes.
    pub fn parse(rules: &[String]) -> Result<Self, String> {
        rules
            .iter()
            .map(|rule| rule.parse())
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The rules as they were written.
    pub(crate) fn written(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|rule| rule.written.as_str())
    }

    /// What is to be done to an upload to this path, if anything. Counts it.
    pub(crate) fn pick(&self, path: &str) -> Option<Fault> {
        let matching = self.0.iter().filter(|rule| rule.path.is_match(path));
        matching
            .filter(|rule| rule.is_its_turn())
            .map(|rule| rule.fault)
            .next()
    }
}

impl Rule {
    /// Whether the share rises over a whole number with this one.
    fn is_its_turn(&self) -> bool {
        let before = u128::from(self.matched.fetch_add(1, Ordering::Relaxed));
        let reached = |count: u128| count * u128::from(self.share) / u128::from(WHOLE);
        reached(before + 1) > reached(before)
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!(
                "--fault {text:?}: {why} (write PATH-REGEX=status:503@10%, or delay:2s, reset, hang)"
            )
        };
        let (path, action) = text
            .rsplit_once('=')
            .ok_or_else(|| wrong("there is no = in it"))?;
        let (action, share) = match action.split_once('@') {
            Some((action, share)) => (
                action,
                parse_share(share)
                    .ok_or_else(|| wrong("the share must be from 0.000001% to 100%"))?,
            ),
            None => (action, WHOLE),
        };
        let fault = match action.split_once(':') {
            None if action == "reset" => Fault::Reset,
            None if action == "hang" => Fault::Hang,
            Some(("status", status)) => {
                let kind = KINDS
                    .into_iter()
                    .find(|kind| kind.http_status().to_string() == status);
                let kind = kind.ok_or_else(|| {
                    let all: Vec<String> = KINDS
                        .iter()
                        .map(|kind| kind.http_status().to_string())
                        .collect();
                    wrong(&format!("the status must be one of {}", all.join(", ")))
                })?;
                Fault::Status(kind)
            }
            Some(("delay", span)) => {
                let span = humantime::parse_duration(span).map_err(|e| wrong(&e.to_string()))?;
                if span.is_zero() || span > LONGEST_DELAY {
                    return Err(wrong("the delay must be longer than 0s, and 10m at most"));
                }
                Fault::Delay(span)
            }
            _ => return Err(wrong("the fault is not known")),
        };
        let path = regex::RegexBuilder::new(path)
            .size_limit(LARGEST_REGEX)
            .build()
            .map_err(|e| wrong(&e.to_string().replace('\n', " ")))?;
        Ok(Self {
            written: text.to_owned(),
            path,
            fault,
            share,
            matched: AtomicU64::new(0),
        })
    }
}

/// `10%`, `0.5%` out of [`WHOLE`].
fn parse_share(text: &str) -> Option<u64> {
    let digits = text.strip_suffix('%')?;
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || whole.len() > 3 || part.len() > 6 {
        return None;
    }
    let share =
        whole.parse::<u64>().ok()? * 1_000_000 + format!("{part:0<6}").parse::<u64>().ok()?;
    (1..=WHOLE).contains(&share).then_some(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(rules: &[&str]) -> Result<Faults, String> {
        Faults::parse(
            &rules
                .iter()
                .map(|rule| (*rule).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn the_share_is_kept_exactly() {
        for (share, expected) in [("10%", 100), ("0.5%", 5), ("100%", 1000), ("33.3%", 333)] {
            let faults = faults(&[&format!("m4s$=reset@{share}")]).unwrap();
            let picked = (0..1000)
                .filter(|_| faults.pick("/streams/1/a.m4s").is_some())
                .count();
            assert_eq!(picked, expected, "{share}");
        }
        let every_second = faults(&["=hang@50%"]).unwrap();
        let picked: Vec<bool> = (0..4).map(|_| every_second.pick("/x").is_some()).collect();
        assert_eq!(picked, [false, true, false, true]);
    }

    #[test]
    fn the_first_that_matches_counts() {
        let faults = faults(&["mpd$=status:503", "a=b=delay:2s", "=status:507"]).unwrap();
        assert_eq!(faults.pick("/index.mpd"), Some(Fault::Status(Kind::Busy)));
        assert_eq!(
            faults.pick("/a=b"),
            Some(Fault::Delay(Duration::from_secs(2)))
        );
        assert_eq!(
            faults.pick("/other"),
            Some(Fault::Status(Kind::StorageFull))
        );
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        for rule in [
            "x",
            "x=",
            "x=status:299",
            "x=delay:0s",
            "x=delay:1h",
            "x=reset@0%",
            "x=reset@101%",
            "x=reset@5",
            "(=reset",
            "x=burn",
        ] {
            let error = faults(&[rule]).unwrap_err();
            assert!(
                error.contains("--fault") && !error.contains('\n'),
                "{error}"
            );
        }
    }
}
