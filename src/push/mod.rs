//! The other side: a camera that pushes, to this server or to any other.
//!
//! ```text
//! source -> cut (segments, chunks) -> pack (bytes of CMAF) -> session (order and names of objects)
//!                                                               -> upload (tries, late ones)
//! enroll (certificate, stream) ------------------------------->     -> wire (connections)
//! ```
//!
//! A client of the public API like any other: it knows nothing of the server's insides, and takes its TLS
//! from `tls`.

mod body;
mod cut;
mod deform;
mod enroll;
mod manifest;
mod misbehave;
mod pack;
mod report;
mod session;
mod source;
mod upload;
mod wire;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use hyper::header::HeaderValue;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::names::Interface;
use crate::tls::client::{Connector, Offer, Trust};
use crate::{Error, Kind, Result, pki};

use self::enroll::{Identity, Registrar};
pub(crate) use self::misbehave::list as misbehaviours;
use self::misbehave::{Fault, Faults};
use self::report::{Report, Style};
pub(crate) use self::session::Naming;
use self::session::{Plan, Session};
use self::source::{Source, Track};
use self::upload::Camera;
use self::wire::{Http, Line, Server};

/// Most cameras of one process.
const MOST_CAMERAS: u32 = 10_000;
/// Longest name of a track in the Matter profile.
const LONGEST_NAME: usize = 16;
/// Roots that the system believes, where they are usually kept.
const SYSTEM_ROOTS: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

/// What `pavs push` is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// `None`: what is built in. `-`: standard input.
    pub(crate) source: Option<PathBuf>,
    pub(crate) again: bool,
    pub(crate) target: Target,
    pub(crate) cacert: Option<PathBuf>,
    pub(crate) token: Option<String>,
    pub(crate) interface: Interface,
    pub(crate) naming: Naming,
    pub(crate) segment: Duration,
    pub(crate) chunk: Option<Duration>,
    /// `video`, `audio=sound`; empty: all.
    pub(crate) tracks: Vec<String>,
    pub(crate) http: Speak,
    pub(crate) once: bool,
    pub(crate) method: Method,
    pub(crate) is_fast: bool,
    pub(crate) whole: Option<Duration>,
    pub(crate) first_session: u64,
    pub(crate) sessions: u64,
    pub(crate) cameras: u32,
    pub(crate) misbehave: Vec<String>,
    pub(crate) is_json: bool,
}

/// Which HTTP is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Speak {
    /// What the server prefers
    Any,
    /// HTTP/1.1
    #[value(name = "1.1")]
    One,
    /// HTTP/2
    #[value(name = "2")]
    Two,
}

/// Where it goes, and as whom.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// `{n}` in them is the number of the camera.
    Endpoint {
        url: String,
        cert: Option<String>,
        key: Option<String>,
    },
    /// A pavs that makes certificate and stream.
    Enroll { url: String, name: String },
}

/// Pushes until the sources end, the time is over, or it is interrupted. Says whether everything was
/// accepted.
///
/// # Errors
/// What it is asked for cannot be begun, or a source cannot be read on.
pub(crate) async fn run(options: Options) -> Result<bool> {
    check(&options)?;
    let faults = Faults::named(&options.misbehave).map_err(invalid)?;
    let names = (1..=options.cameras)
        .map(|n| options.camera_name(n))
        .collect();
    let style = match options.is_json {
        true => Style::Json,
        false if std::io::stderr().is_terminal() => Style::Terminal,
        false => Style::Plain,
    };
    let mut source = open(&options).await?;
    let wanted = choose(&source.tracks(), &options.tracks)?;
    let report = Arc::new(Report::new(style, names));
    let stop = interrupted(Arc::clone(&report))?;
    let plan = Arc::new(Plan {
        interface: options.interface,
        naming: options.naming,
        segment: options.segment,
        chunk: options.chunk,
        whole: options.whole,
        is_paced: !options.is_fast && !source.is_live(),
        faults,
    });
    let fleet = Arc::new(Fleet::new(options, plan, wanted, Arc::clone(&report)).await?);
    let mut running = JoinSet::new();
    for number in 2..=fleet.options.cameras {
        let again = source
            .share()
            .ok_or_else(|| invalid("standard input feeds one camera only"))?;
        running.spawn(Arc::clone(&fleet).camera(number, again, stop.clone()));
    }
    let ended = fleet.clone().camera(1, source_of(&mut source), stop).await;
    let mut failure = ended.err();
    while let Some(ended) = running.join_next().await {
        let ended = ended.map_err(|e| Error::internal("a camera was not run to its end", e));
        failure = failure.or(ended.and_then(|ended| ended).err());
    }
    let all_accepted = report.end();
    failure.map_or(Ok(all_accepted), Err)
}

/// The source itself, for its first user.
fn source_of(source: &mut Source) -> Source {
    std::mem::replace(source, Source::Pipe(None))
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, message)
}

/// What does not go together.
fn check(options: &Options) -> Result<()> {
    let is_pipe = options.source.as_deref() == Some(Path::new("-"));
    let endless = options.source.is_none() || options.again;
    let one_by_one = options.cameras > 1
        && matches!(&options.target, Target::Endpoint { url, .. } if !url.contains("{n}"));
    let wrong = match () {
        () if options.cameras == 0 || options.cameras > MOST_CAMERAS => {
            "--cameras takes a number from 1 to 10000"
        }
        () if options.sessions == 0 => "--sessions takes a number from 1 on",
        () if is_pipe && options.sessions > 1 => "standard input makes one session",
        () if is_pipe && options.cameras > 1 => "standard input feeds one camera",
        () if is_pipe && options.again => "standard input cannot be played again",
        () if endless && options.sessions > 1 && options.whole.is_none() => {
            "sessions of a source without end need --duration"
        }
        () if endless && options.is_fast && options.whole.is_none() => {
            "--fast with a source without end needs --duration"
        }
        () if one_by_one => {
            "every camera needs a stream of its own: use --enroll, or write {n} into --endpoint where the number of the camera goes"
        }
        () if options.interface == Interface::Hls && options.chunk.is_some() => {
            "hls tells how long a segment is before its first byte: leave out --chunk-duration"
        }
        () if options.interface != Interface::CmafIngest && options.naming == Naming::Streams => {
            "--naming streams goes with --interface cmaf-ingest"
        }
        () if options.chunk.is_some_and(|chunk| chunk >= options.segment) => {
            "--chunk-duration must be shorter than --segment-duration"
        }
        () => return Ok(()),
    };
    Err(invalid(wrong))
}

async fn open(options: &Options) -> Result<Source> {
    match options.source.as_deref() {
        None => Source::synthetic(),
        Some(path) if path == Path::new("-") => Source::stdin().await,
        Some(path) => Source::file(path, options.again),
    }
}

/// Places of the wanted tracks, with the names they get.
fn choose(tracks: &[Track], wanted: &[String]) -> Result<Vec<(usize, String)>> {
    let mut chosen = Vec::new();
    for (place, track) in tracks.iter().enumerate() {
        if wanted.is_empty() {
            chosen.push((place, track.name.clone()));
        }
    }
    for word in wanted {
        let (name, called) = word.split_once('=').unwrap_or((word, word));
        let place = tracks.iter().position(|track| track.name == name);
        let there: Vec<&str> = tracks.iter().map(|track| track.name.as_str()).collect();
        let place = place.ok_or_else(|| {
            invalid(format!(
                "--tracks: there is no track {name:?}, only {}",
                there.join(", ")
            ))
        })?;
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-~".contains(&b);
        if called.is_empty()
            || called.len() > LONGEST_NAME
            || !called.bytes().all(is_plain)
            || called.starts_with('.')
        {
            return Err(invalid(format!(
                "--tracks: {called:?} is no name of a track: 1 to 16 letters, digits, _ . - ~"
            )));
        }
        if chosen
            .iter()
            .any(|(held, name)| *held == place || name == called)
        {
            return Err(invalid(format!("--tracks: {word:?} is there twice")));
        }
        chosen.push((place, called.to_owned()));
    }
    Ok(chosen)
}

/// Becomes true at the first Ctrl-C or SIGTERM; the second ends the process.
fn interrupted(report: Arc<Report>) -> Result<watch::Receiver<bool>> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |e| Error::internal("cannot receive signals", e);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let (tell, stop) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            let code = tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            };
            if tell.send_replace(true) {
                std::process::exit(code);
            }
            report.say("ending the sessions; once more ends at once");
        }
    });
    Ok(stop)
}

/// All cameras.
struct Fleet {
    options: Options,
    plan: Arc<Plan>,
    wanted: Vec<(usize, String)>,
    report: Arc<Report>,
    way: Way,
}

enum Way {
    Endpoint {
        roots: Vec<u8>,
    },
    Enroll {
        server: Server,
        registrar: Registrar,
    },
}

impl Fleet {
    async fn new(
        options: Options,
        plan: Arc<Plan>,
        wanted: Vec<(usize, String)>,
        report: Arc<Report>,
    ) -> Result<Self> {
        let roots = options.cacert.as_deref().map(read).transpose()?;
        let way = match &options.target {
            Target::Endpoint { url, .. } => {
                Server::parse(&url.replace("{n}", "1"))?;
                Way::Endpoint {
                    roots: roots.map_or_else(system_roots, Ok)?,
                }
            }
            Target::Enroll { url, .. } => {
                let (server, path) = Server::parse(url)?;
                if !path.is_empty() {
                    return Err(invalid(format!(
                        "--enroll takes the server alone, {}; the stream is opened there",
                        server.base()
                    )));
                }
                let token = options.authorization()?;
                let warn = |text: &str| report.say(&format!("warning: {text}"));
                let registrar = Registrar::new(server.clone(), roots, token, warn).await?;
                Way::Enroll { server, registrar }
            }
        };
        Ok(Self {
            options,
            plan,
            wanted,
            report,
            way,
        })
    }

    /// One camera, with all its sessions.
    async fn camera(
        self: Arc<Self>,
        number: u32,
        mut source: Source,
        mut stop: watch::Receiver<bool>,
    ) -> Result<()> {
        // All begin within one segment, none beside another.
        let wait = self.options.segment * (number - 1) / self.options.cameras.max(1);
        tokio::select! {
            Ok(_) = stop.wait_for(|stop| *stop) => return Ok(()),
            () = tokio::time::sleep(if self.options.is_fast { Duration::ZERO } else { wait }) => {}
        }
        let camera = Arc::new(self.join(number).await?);
        let places: Vec<usize> = self.wanted.iter().map(|(place, _)| *place).collect();
        let tracks = source.tracks();
        for session in 0..self.options.sessions {
            if *stop.borrow() {
                break;
            }
            let named = self.wanted.iter().filter_map(|(place, name)| {
                let track = tracks.get(*place)?.clone();
                Some(Track {
                    name: name.clone(),
                    ..track
                })
            });
            let session = Session {
                plan: Arc::clone(&self.plan),
                camera: Arc::clone(&camera),
                number: self.options.first_session.saturating_add(session),
                tracks: named.collect(),
            };
            session.run(source.play(&places)?, stop.clone()).await?;
        }
        Ok(())
    }

    /// The camera with what it needs: a certificate, a stream, and a way there.
    async fn join(&self, number: u32) -> Result<Camera> {
        let options = &self.options;
        let name = options.camera_name(number);
        let own = |text: &String| text.replace("{n}", &number.to_string());
        let (server, path, roots, mut identity) = match (&self.way, &options.target) {
            (Way::Enroll { server, registrar }, _) => {
                let identity = registrar.enroll(&name).await?;
                let path = registrar.open_stream(&identity, options.interface).await?;
                self.report
                    .say(&format!("{name}: pushes to {}{path}", server.base()));
                (server.clone(), path, registrar.roots(), Some(identity))
            }
            (Way::Endpoint { roots }, Target::Endpoint { url, cert, key }) => {
                let (server, path) = Server::parse(&own(url))?;
                let identity = match cert.as_ref().map(own) {
                    Some(cert) => Some(Identity {
                        key: text(key.as_ref().map(own).as_deref().unwrap_or(&cert))?,
                        certificate: text(&cert)?,
                    }),
                    None => None,
                };
                (server, path, roots.as_slice(), identity)
            }
            (Way::Endpoint { .. }, Target::Enroll { .. }) => {
                return Err(invalid("there is no endpoint"));
            }
        };
        if self.plan.faults.has(Fault::NoCertificate) {
            identity = None;
        }
        if self.plan.faults.has(Fault::ForeignCertificate) {
            identity = Some(foreign(&name)?);
        }
        let shown = identity
            .as_ref()
            .map(|shown| (shown.certificate.as_bytes(), shown.key.as_bytes()));
        let (http, offer) = match options.http {
            Speak::Any => (Http::Any, Offer::Both),
            Speak::One => (Http::One, Offer::Http1),
            Speak::Two => (Http::Two, Offer::Http2),
        };
        let connector = Connector::new(Trust::Roots(roots), shown, offer).map_err(invalid)?;
        let line = Line {
            server,
            connector,
            http,
            once: options.once,
            connect_timeout: options.segment.max(Duration::from_secs(1)),
        };
        Ok(Camera {
            index: usize::try_from(number - 1).unwrap_or(0),
            name,
            line: Arc::new(line),
            path,
            method: options.method.clone(),
            segment: options.segment,
            token: match self.way {
                Way::Endpoint { .. } => options.authorization()?,
                Way::Enroll { .. } => None,
            },
            report: Arc::clone(&self.report),
        })
    }
}

impl Options {
    /// `cam-1`, or what it is told to be; with a number where there are several.
    fn camera_name(&self, number: u32) -> String {
        match &self.target {
            Target::Enroll { name, .. } if self.cameras == 1 => name.clone(),
            Target::Enroll { name, .. } => format!("{}-{number}", name.trim_end_matches("-1")),
            Target::Endpoint { .. } => format!("cam-{number}"),
        }
    }

    fn authorization(&self) -> Result<Option<HeaderValue>> {
        let field = self
            .token
            .as_ref()
            .map(|token| HeaderValue::try_from(format!("Bearer {}", token.trim())));
        let field = field
            .transpose()
            .map_err(|_| invalid("the token has characters that no header field may have"))?;
        Ok(field.map(|mut field| {
            field.set_sensitive(true);
            field
        }))
    }
}

/// A certificate that nobody knows.
fn foreign(name: &str) -> Result<Identity> {
    let failed = |e: pki::Error| Error::internal("cannot make a foreign certificate", e);
    let now = time::OffsetDateTime::now_utc();
    let root = pki::Authority::generate("foreign root", now).map_err(failed)?;
    let name = pki::CertName::parse(name).map_err(failed)?;
    let validity = pki::Validity::from_now(now, time::Duration::days(1));
    let issued = root.issue_device(&name, validity).map_err(failed)?;
    Ok(Identity {
        certificate: issued.cert.cert_pem,
        key: issued.key_pem,
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| {
        Error::new(
            Kind::NotFound,
            format!("{} cannot be read: {e}", path.display()),
        )
    })
}

fn text(path: &str) -> Result<String> {
    String::from_utf8(read(Path::new(path))?).map_err(|_| invalid(format!("{path} is no PEM")))
}

fn system_roots() -> Result<Vec<u8>> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = SYSTEM_ROOTS.iter().map(PathBuf::from);
    let found = named
        .into_iter()
        .chain(usual)
        .find_map(|path| std::fs::read(path).ok());
    found.ok_or_else(|| {
        invalid("who the server must be is not known: give its root certificate with --cacert")
    })
}

/// A length as 64 bits.
fn len(bytes: &[u8]) -> u64 {
    wide(bytes.len())
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
