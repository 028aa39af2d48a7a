//! `pavs check`.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::files::{self, Found};
use super::{answer, could_not};
use crate::cmaf::check::{Context, Kind};
use crate::cmaf::{BodyScanner, ScanEvent, TrackHeader};
use crate::finding::{self, Finding, Profile};
use crate::layout::{self, Content};
use crate::manifest::MAX_SIZE;
use crate::report::{self, Builder, Durations, Fragment, SessionBuilder, TrackBuilder, manifests};

/// Exit code where a rule is broken that is an error in the profile.
const BROKEN: u8 = 1;

/// Bytes read at once.
const PIECE: usize = 256 << 10;

/// Arguments of `pavs check`.
#[derive(Args, Debug)]
pub struct Check {
    /// A directory, which is read as a stream with its sessions, or files
    #[arg(required = true, value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,

    /// What it is held against
    #[arg(long, value_enum, default_value_t = Profile::Cmaf)]
    profile: Profile,

    /// Header of the track that lone segments belong to
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,

    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// All of it, for all profiles
    Json,
    /// For test runners
    Junit,
}

impl Check {
    pub(super) fn run(self) -> ExitCode {
        let report = match self.report() {
            Ok(report) => report,
            Err(message) => return could_not(&message),
        };
        let passed = report
            .verdict(self.profile)
            .is_some_and(|verdict| verdict.passed);
        let text = match self.format {
            Format::Text => report.text(&[self.profile]),
            Format::Json => report.json(),
            Format::Junit => report.junit(&[self.profile]),
        };
        answer(&text, ExitCode::from(if passed { 0 } else { BROKEN }))
    }

    fn report(&self) -> Result<report::Report, String> {
        let mut builder = Builder::default();
        let mut files = Vec::new();
        for path in &self.paths {
            if path.is_dir() {
                let found = media(files::below(path)?);
                if found.is_empty() {
                    return Err(format!(
                        "{}: there are no media files, MPDs or playlists in it",
                        path.display()
                    ));
                }
                let prefix = match self.paths.len() {
                    1 => String::new(),
                    _ => format!("{}/", path.display()),
                };
                files.extend(found.into_iter().map(|found| Found {
                    name: format!("{prefix}{}", found.name),
                    ..found
                }));
            } else {
                files.push(Found {
                    name: path.display().to_string(),
                    content: files::content(path)?,
                    path: path.clone(),
                });
            }
        }
        let header = match &self.init {
            Some(path) => Some(read_header(path)?),
            None => None,
        };
        Reading {
            files: &files,
            names: files.iter().map(|found| found.name.as_str()).collect(),
            header,
            whole: self.paths.iter().all(|path| path.is_dir()),
        }
        .run(&mut builder)?;
        let name = match &self.paths[..] {
            [one] => one.display().to_string(),
            _ => format!("{} paths", self.paths.len()),
        };
        Ok(builder.finish(&name))
    }
}

/// What of a directory is media or a manifest, by its name or its bytes.
fn media(found: Vec<Found>) -> Vec<Found> {
    let named = |name: &str| {
        let extension = name.rsplit_once('.').map(|(_, extension)| extension);
        matches!(
            extension,
            Some(
                "mp4"
                    | "m4s"
                    | "m4v"
                    | "m4a"
                    | "cmfv"
                    | "cmfa"
                    | "cmft"
                    | "cmfm"
                    | "init"
                    | "header"
            )
        )
    };
    found
        .into_iter()
        .filter(|found| found.content != Content::Other || named(&found.name))
        .collect()
}

/// What the manifests of a session say of its media.
#[derive(Default)]
struct Said {
    /// Objects that are encrypted as a whole.
    ciphertext: HashSet<String>,
    durations: Durations,
}

struct Reading<'a> {
    files: &'a [Found],
    names: HashSet<&'a str>,
    /// Lent to segments that have none.
    header: Option<TrackHeader>,
    /// Everything that belongs to a manifest should be among the files.
    whole: bool,
}

impl Reading<'_> {
    fn run(&self, builder: &mut Builder) -> Result<(), String> {
        let objects: Vec<_> = self
            .files
            .iter()
            .map(|found| (found.name.as_str(), found.content))
            .collect();
        for session in layout::layout(&objects) {
            let built = builder.session(&session.name);
            let mut said = Said::default();
            for place in session.manifests {
                self.manifest(built, &self.files[place], &mut said)?;
            }
            // What is no media, though it should be, is a track by itself.
            let others = session.others.into_iter().map(|place| layout::Track {
                name: self.files[place].name.clone(),
                header: Some(place),
                media: Vec::new(),
            });
            for track in session.tracks.into_iter().chain(others) {
                self.track(built, &track, &said)?;
            }
        }
        Ok(())
    }

    fn manifest(
        &self,
        built: &mut SessionBuilder,
        found: &Found,
        said: &mut Said,
    ) -> Result<(), String> {
        let mut bytes = Vec::new();
        files::open(&found.path)?
            .take(MAX_SIZE as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| format!("cannot read {}: {e}", found.path.display()))?;
        let exists = |name: &str| self.whole.then(|| self.names.contains(name));
        let judged = manifests::judge(&found.name, &bytes, exists);
        built.manifest(&judged);
        said.ciphertext.extend(judged.ciphertext);
        said.durations.add(&found.name, &bytes);
        Ok(())
    }

    fn track(
        &self,
        built: &mut SessionBuilder,
        track: &layout::Track,
        said: &Said,
    ) -> Result<(), String> {
        let mut header = self.header.clone();
        let mut previous = None;
        let mut all = Vec::new();
        let of_track = built.track(&track.name);
        for place in track.header.iter().chain(&track.media) {
            let found = &self.files[*place];
            if said.ciphertext.contains(&found.name) {
                let size = std::fs::metadata(&found.path).map_or(0, |data| data.len());
                of_track.object(size);
                continue;
            }
            if header.is_none() && found.content == Content::Segment && !self.whole {
                let beside = files::header_beside(&found.path)?;
                header = beside.and_then(|bytes| TrackHeader::parse(&bytes).ok());
            }
            let context = Context {
                kind: kind(found),
                header: header.take(),
                previous,
                expected: said.durations.of(&found.name),
            };
            if let Some(header) = &context.header {
                of_track.header(None, header);
            }
            let mut scanner = BodyScanner::checked(context);
            let size = scan(found, &mut scanner, of_track)?;
            header = scanner.last_header().cloned();
            previous = scanner.last_fragment().copied();
            let mut findings = scanner.take_findings();
            // On the server that is no media at all; who names a file for a check takes it for media.
            if let (0, Some(rule)) = (size, finding::rule("body-start")) {
                findings.add(Finding::new(rule, "the file is empty"));
            }
            all.push((&found.name, findings));
        }
        for (name, findings) in &all {
            built.findings(name, findings.iter());
        }
        Ok(())
    }
}

/// What the name promises, or else what the file has shown itself to be: whoever asks for a check wants
/// to know of everything that is no CMAF.
fn kind(found: &Found) -> Kind {
    match Kind::of_name(&found.name) {
        Kind::Unknown => Kind::Track,
        // The scripts of some encoders call a whole track init.
        Kind::Header if found.content == Content::Track => Kind::Track,
        // Some call their headers 0.m4s.
        Kind::Segment if found.content == Content::Header => Kind::Header,
        Kind::Segment if found.content == Content::Track => Kind::Track,
        kind => kind,
    }
}

/// Shows a file to the scanner, and what it sees in it to the report.
/// Gives its size in bytes.
fn scan(found: &Found, scanner: &mut BodyScanner, track: &mut TrackBuilder) -> Result<u64, String> {
    let failed = |e: std::io::Error| format!("cannot read {}: {e}", found.path.display());
    let mut file: File = files::open(&found.path)?;
    let mut piece = vec![0; PIECE];
    let mut events = Vec::new();
    let mut size = 0u64;
    loop {
        let read = match file.read(&mut piece) {
            Ok(read) => read,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(failed(e)),
        };
        match piece.get(..read) {
            Some(bytes) if read > 0 => scanner.push(bytes, &mut events),
            _ => scanner.finish(&mut events),
        }
        size = size.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        for event in events.drain(..) {
            match event {
                ScanEvent::Header(seen) => {
                    if let Some(header) = &seen.header {
                        track.header(Some(&found.name), header);
                    }
                }
                ScanEvent::Fragment(seen) => track.fragment(
                    &found.name,
                    &Fragment {
                        track_id: Some(seen.track_id),
                        decode_time: seen.decode_time,
                        duration: seen.duration,
                        bytes: seen.range.end.saturating_sub(seen.range.start),
                        sync: seen.sync,
                        samples: Some(u64::from(seen.sample_count)),
                        wall_clock: seen.wall_clock,
                    },
                ),
                ScanEvent::Start(_) | ScanEvent::Trailer(_) | ScanEvent::Broken { .. } => {}
            }
        }
        if read == 0 {
            break;
        }
    }
    track.object(size);
    Ok(size)
}

fn read_header(path: &Path) -> Result<TrackHeader, String> {
    let bytes = files::read_header(path)?;
    TrackHeader::parse(&bytes).map_err(|e| format!("cannot read {}: {e}", path.display()))
}
