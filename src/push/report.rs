//! What became of everything that was sent: counted, shown while it goes on, and told at the end.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// How it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// A line that changes, on a terminal.
    Terminal,
    /// Lines.
    Plain,
    /// One JSON object per line.
    Json,
}

/// What became of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Ending {
    /// The server took it.
    Accepted,
    /// The server answered that it does not want it.
    Refused,
    /// There was no answer, or only ones that say to try again, for as long as it was tried.
    Failed,
    /// It was not meant to be whole.
    Broken,
}

/// One object, at its end.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    pub(super) camera: &'a str,
    pub(super) path: &'a str,
    pub(super) ending: Ending,
    pub(super) bytes: usize,
    /// The last answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    /// From when it was whole to its answer.
    #[serde(rename = "latency_ms", serialize_with = "millis")]
    pub(super) latency: Duration,
    /// Tries after the first.
    pub(super) retries: u32,
    /// It was there later than one segment duration after it was made.
    pub(super) late: bool,
    /// What the server said, or what failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<&'a str>,
}

fn millis<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64() * 1000.0)
}

/// Counts of one camera, or of all.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    sessions: u64,
    objects: u64,
    accepted: u64,
    refused: u64,
    failed: u64,
    broken: u64,
    bytes: u64,
    retries: u64,
    late: u64,
    connections: u64,
    latencies: Histogram,
}

impl Totals {
    fn add(&mut self, line: &Line<'_>) {
        self.objects += 1;
        match line.ending {
            Ending::Accepted => {
                self.accepted += 1;
                self.bytes = self.bytes.saturating_add(super::wide(line.bytes));
                self.latencies.add(line.latency);
            }
            Ending::Refused => self.refused += 1,
            Ending::Failed => self.failed += 1,
            Ending::Broken => self.broken += 1,
        }
        self.retries += u64::from(line.retries);
        self.late += u64::from(line.late);
    }

    fn merge(&mut self, other: &Self) {
        self.sessions += other.sessions;
        self.objects += other.objects;
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.failed += other.failed;
        self.broken += other.broken;
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.retries += other.retries;
        self.late += other.late;
        self.connections += other.connections;
        self.latencies.merge(&other.latencies);
    }

    fn written(&self, name: &str, time: Duration) -> Summary {
        let at = |share| self.latencies.quantile(share).as_secs_f64() * 1000.0;
        Summary {
            summary: name.to_owned(),
            seconds: time.as_secs_f64(),
            sessions: self.sessions,
            objects: self.objects,
            accepted: self.accepted,
            refused: self.refused,
            failed: self.failed,
            broken_on_purpose: self.broken,
            late: self.late,
            retries: self.retries,
            connections: self.connections,
            bytes: self.bytes,
            latency_ms: Latency {
                p50: at(50),
                p90: at(90),
                p99: at(99),
                max: at(100),
            },
        }
    }
}

/// The counts as they are told.
#[derive(Debug, Serialize)]
struct Summary {
    /// The camera, or `all`.
    summary: String,
    seconds: f64,
    sessions: u64,
    objects: u64,
    accepted: u64,
    refused: u64,
    failed: u64,
    broken_on_purpose: u64,
    late: u64,
    retries: u64,
    connections: u64,
    bytes: u64,
    latency_ms: Latency,
}

#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

/// Times in buckets that are 1/16 wide of where they lie: exact to 6 %.
#[derive(Clone, Debug)]
struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    longest: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: vec![0; 16 * 60],
            count: 0,
            longest: Duration::ZERO,
        }
    }
}

impl Histogram {
    fn add(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get_mut(Self::bucket(micros)) {
            *bucket += 1;
            self.count += 1;
        }
        self.longest = self.longest.max(time);
    }

    fn bucket(micros: u64) -> usize {
        let at = match micros.checked_ilog2() {
            Some(power) if power >= 4 => {
                (power - 3) * 16 + u32::try_from((micros >> (power - 4)) & 15).unwrap_or(0)
            }
            _ => u32::try_from(micros).unwrap_or(0),
        };
        usize::try_from(at).unwrap_or(usize::MAX).min(16 * 60 - 1)
    }

    /// The largest time of a bucket.
    fn upper(bucket: u64) -> u64 {
        match bucket / 16 {
            0 => bucket,
            power => ((17 + bucket % 16) << (power - 1)) - 1,
        }
    }

    fn merge(&mut self, other: &Self) {
        for (mine, others) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += others;
        }
        self.count += other.count;
        self.longest = self.longest.max(other.longest);
    }

    /// The time that `percent` of all do not exceed.
    fn quantile(&self, percent: u64) -> Duration {
        let wanted = (self.count * percent).div_ceil(100);
        let mut seen = 0;
        for (bucket, count) in (0u64..).zip(&self.buckets) {
            seen += count;
            if seen >= wanted && *count > 0 {
                return Duration::from_micros(Self::upper(bucket)).min(self.longest);
            }
        }
        Duration::ZERO
    }
}

/// Counts for all cameras.
pub(super) struct Report {
    style: Style,
    began: Instant,
    names: Vec<String>,
    totals: Mutex<Vec<Totals>>,
    bar: Option<ProgressBar>,
}

/// More cameras than these are only told together.
const TOLD_ONE_BY_ONE: usize = 32;

impl Report {
    pub(super) fn new(style: Style, names: Vec<String>) -> Self {
        let bar = (style == Style::Terminal).then(|| {
            let bar = ProgressBar::new_spinner();
            let form = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}");
            if let Ok(form) = form {
                bar.set_style(form);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        let totals = Mutex::new(vec![Totals::default(); names.len()]);
        Self {
            style,
            began: Instant::now(),
            names,
            totals,
            bar,
        }
    }

    fn totals(&self) -> std::sync::MutexGuard<'_, Vec<Totals>> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Totals {
        let mut all = Totals::default();
        for one in self.totals().iter() {
            all.merge(one);
        }
        all
    }

    /// Something worth a line that is no object.
    pub(super) fn say(&self, text: &str) {
        match (self.style, &self.bar) {
            (_, Some(bar)) => bar.suspend(|| line(&mut std::io::stderr(), text)),
            (Style::Json, _) => {
                line(
                    &mut std::io::stdout(),
                    &serde_json::json!({ "note": text }).to_string(),
                );
            }
            _ => line(&mut std::io::stderr(), text),
        }
    }

    /// An object has come to its end.
    pub(super) fn object(&self, camera: usize, told: &Line<'_>) {
        if let Some(totals) = self.totals().get_mut(camera) {
            totals.add(told);
        }
        if self.style == Style::Json {
            line(
                &mut std::io::stdout(),
                &serde_json::to_string(told).unwrap_or_default(),
            );
        } else if told.ending == Ending::Accepted
            && self.style == Style::Plain
            && self.names.len() <= TOLD_ONE_BY_ONE
        {
            let status = told.status.unwrap_or_default();
            self.say(&format!(
                "{}: {} {status} {} B {:.1} ms{}",
                told.camera,
                told.path,
                told.bytes,
                told.latency.as_secs_f64() * 1000.0,
                if told.late { ", late" } else { "" }
            ));
        } else if told.ending != Ending::Accepted {
            let ending = match told.ending {
                Ending::Refused => "refused",
                Ending::Broken => "broken on purpose",
                _ => "failed",
            };
            let detail = told.detail.unwrap_or("no detail");
            self.say(&format!(
                "{}: {} {ending}: {detail}",
                told.camera, told.path
            ));
        }
        if let Some(bar) = &self.bar {
            let all = self.all();
            bar.set_message(format!(
                "{} objects, {}, {} refused, {} failed, {} late, median {:.1} ms",
                all.objects,
                bytesize::ByteSize(all.bytes),
                all.refused,
                all.failed,
                all.late,
                all.latencies.quantile(50).as_secs_f64() * 1000.0,
            ));
        }
    }

    pub(super) fn session(&self, camera: usize) {
        if let Some(totals) = self.totals().get_mut(camera) {
            totals.sessions += 1;
        }
    }

    pub(super) fn connections(&self, camera: usize, count: u64) {
        if let Some(totals) = self.totals().get_mut(camera) {
            totals.connections += count;
        }
    }

    /// The summary, on standard output. Says whether all was accepted, and anything was sent.
    pub(super) fn end(&self) -> bool {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let time = self.began.elapsed();
        let all = self.all();
        let mut told = Vec::new();
        if self.names.len() > 1 && self.names.len() <= TOLD_ONE_BY_ONE {
            for (name, totals) in self.names.iter().zip(self.totals().iter()) {
                told.push(totals.written(name, time));
            }
        }
        told.push(all.written("all", time));
        let mut out = std::io::stdout().lock();
        if self.style == Style::Json {
            for one in &told {
                line(&mut out, &serde_json::to_string(one).unwrap_or_default());
            }
        } else {
            line(&mut out, &table(&told));
        }
        all.accepted == all.objects && all.objects > 0
    }
}

/// What was said cannot be said any more when nobody reads on.
fn line(out: &mut impl Write, text: &str) {
    let _ = writeln!(out, "{text}");
}

fn table(told: &[Summary]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "camera",
        "sessions",
        "objects",
        "accepted",
        "refused",
        "failed",
        "broken",
        "late",
        "retries",
        "connections",
        "bytes",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "max ms",
    ]);
    for one in told {
        let ms = |value: f64| format!("{value:.1}");
        table.add_row([
            one.summary.clone(),
            one.sessions.to_string(),
            one.objects.to_string(),
            one.accepted.to_string(),
            one.refused.to_string(),
            one.failed.to_string(),
            one.broken_on_purpose.to_string(),
            one.late.to_string(),
            one.retries.to_string(),
            one.connections.to_string(),
            one.bytes.to_string(),
            ms(one.latency_ms.p50),
            ms(one.latency_ms.p90),
            ms(one.latency_ms.p99),
            ms(one.latency_ms.max),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near() {
        let mut times = Histogram::default();
        for micros in 1..=10_000u64 {
            times.add(Duration::from_micros(micros));
        }
        for (percent, micros) in [(50, 5_000.0), (90, 9_000.0), (99, 9_900.0), (100, 10_000.0)] {
            let found = times.quantile(percent).as_secs_f64() * 1e6;
            assert!((found - micros).abs() / micros < 0.07, "{percent}: {found}");
        }
        assert_eq!(Histogram::default().quantile(50), Duration::ZERO);
    }

    #[test]
    fn buckets_hold_what_is_put_into_them() {
        for micros in (0..100_000).chain([u64::from(u32::MAX), 1 << 40]) {
            let bucket = Histogram::bucket(micros);
            assert!(
                Histogram::upper(u64::try_from(bucket).unwrap()) >= micros,
                "{micros}"
            );
            assert!(
                bucket == 0 || Histogram::upper(u64::try_from(bucket - 1).unwrap()) < micros,
                "{micros}"
            );
        }
    }
}
