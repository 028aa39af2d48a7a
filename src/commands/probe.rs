//! `pavs probe`.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use comfy_table::{Table, presets};
use serde_json::Value;

use super::{answer, could_not, files};
use crate::layout::Content;
use crate::manifest::MAX_SIZE;
use crate::probe::{self, ProbeError, Report, Source};

/// Arguments of `pavs probe`.
#[derive(Args, Debug)]
pub struct Probe {
    /// Media files, MPDs or playlists
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Header of the track that lone segments belong to [default: what lies beside them]
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,

    /// How it is written [default: table on a terminal, or else json]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// ffprobe's; of several files an array
    Json,
    /// For people
    Table,
}

impl Probe {
    pub(super) fn run(self) -> ExitCode {
        let mut reports = Vec::new();
        for path in &self.files {
            match report(path, self.init.as_deref()) {
                Ok(report) => reports.push(report),
                Err(message) => return could_not(&message),
            }
        }
        let format = self.format.unwrap_or(match io::stdout().is_terminal() {
            true => Format::Table,
            false => Format::Json,
        });
        let text = match (format, &reports[..]) {
            (Format::Table, all) => all.iter().map(table).collect(),
            (Format::Json, [one]) => json(one),
            (Format::Json, all) => json(&all),
        };
        answer(&text, ExitCode::SUCCESS)
    }
}

fn json(what: &impl serde::Serialize) -> String {
    let mut text = serde_json::to_string_pretty(what).unwrap_or_default();
    text.push('\n');
    text
}

fn report(path: &Path, init: Option<&Path>) -> Result<Report, String> {
    let name = path.display().to_string();
    let failed = |e: ProbeError| match e {
        ProbeError::Read(e) => format!("cannot read {name}: {e}"),
        e => format!("cannot probe {name}: {e}"),
    };
    if files::content(path)? == Content::Manifest {
        return manifest(path, &name)?.map_err(failed);
    }
    let header = init.map(files::read_header).transpose()?;
    let run = |header: Option<&[u8]>| {
        let mut file = files::open(path)?;
        let size = file.metadata().map_err(|e| format!("{name}: {e}"))?.len();
        Ok::<_, String>(probe::probe(&mut file, size, header, &name))
    };
    match run(header.as_deref())? {
        Err(ProbeError::HeaderMissing) => {
            let beside = files::header_beside(path)?;
            match run(beside.as_deref())? {
                Err(e @ ProbeError::HeaderMissing) => {
                    Err(format!("{}: name it with --init", failed(e)))
                }
                report => report.map_err(failed),
            }
        }
        report => report.map_err(failed),
    }
}

fn manifest(path: &Path, name: &str) -> Result<Result<Report, ProbeError>, String> {
    let mut bytes = Vec::new();
    files::open(path)?
        .take(MAX_SIZE as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| format!("cannot read {name}: {e}"))?;
    let root = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let found = files::below(root)?;
    let objects: Vec<_> = found
        .iter()
        .map(|found| (found.name.as_str(), found.content))
        .collect();
    let file_name = path.file_name().unwrap_or_default().to_string_lossy();
    let report = probe::manifest(&bytes, &file_name, &objects, &mut |place| {
        let found = found.get(place).ok_or(io::ErrorKind::NotFound)?;
        let file = File::open(&found.path)?;
        let size = file.metadata()?.len();
        Ok((Box::new(file) as Box<dyn Source>, size))
    });
    Ok(report.map(|mut report| {
        name.clone_into(&mut report.format.filename);
        report
    }))
}

/// A line for each track, under one for the file.
fn table(report: &Report) -> String {
    let format = &report.format;
    let mut out = format!("{}: {}", format.filename, format.format_long_name);
    let duration = format.duration.as_ref().map(|it| format!("{it} s"));
    let bit_rate = format.bit_rate.as_ref().map(|it| format!("{it} bit/s"));
    // A manifest whose media are not there has none.
    let size = Some(format!("{} bytes", format.size)).filter(|_| format.size != "0");
    for words in [duration, size, bit_rate].into_iter().flatten() {
        out.push_str(&format!(", {words}"));
    }
    out.push('\n');
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "#",
        "type",
        "codec",
        "profile",
        "picture or sound",
        "rate",
        "duration",
        "bit rate",
        "language",
    ]);
    let streams = serde_json::to_value(&report.streams).unwrap_or_default();
    for stream in streams.as_array().into_iter().flatten() {
        let word = |name: &str| match &stream[name] {
            Value::String(text) if !text.is_empty() && text != "0/0" => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => "-".to_owned(),
        };
        let (shape, rate) = match word("codec_type").as_str() {
            "video" => {
                let size = format!("{}x{}", word("width"), word("height"));
                let rate = unit(word("avg_frame_rate").trim_end_matches("/1"), "fps");
                (words(&[size, word("pix_fmt")]), rate)
            }
            "audio" => {
                let channels = match word("channels").as_str() {
                    "-" => "-".to_owned(),
                    "1" => "1 channel".to_owned(),
                    channels => format!("{channels} channels"),
                };
                let rate = unit(&word("sample_rate"), "Hz");
                (words(&[channels, word("channel_layout")]), rate)
            }
            _ => ("-".to_owned(), "-".to_owned()),
        };
        let codec = match word("codec_name").as_str() {
            "-" => word("codecs"),
            name => name.to_owned(),
        };
        let language = match &stream["tags"]["language"] {
            Value::String(language) => language.clone(),
            _ => "-".to_owned(),
        };
        table.add_row([
            word("index"),
            word("codec_type"),
            codec,
            word("profile"),
            shape,
            rate,
            unit(&word("duration"), "s"),
            unit(&word("bit_rate"), "bit/s"),
            language,
        ]);
    }
    out.push_str(&table.trim_fmt());
    out.push('\n');
    out
}

/// Those that are known.
fn words(words: &[String]) -> String {
    let known: Vec<_> = words
        .iter()
        .map(String::as_str)
        .filter(|word| *word != "-" && *word != "-x-")
        .collect();
    match known.is_empty() {
        true => "-".to_owned(),
        false => known.join(" "),
    }
}

/// A number that is known, with its unit.
fn unit(number: &str, unit: &str) -> String {
    match number {
        "-" => "-".to_owned(),
        number => format!("{number} {unit}"),
    }
}
