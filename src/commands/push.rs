//! `pavs push`: a camera.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::config::Span;
use crate::names::Interface;
use crate::push::{self, Naming, Options, Speak, Target};

/// Shortest and longest segment: those of the Matter profile, and room for tests.
const SEGMENT: (u64, u64) = (100, 65_500);
/// Exit code of a push that was not accepted in full.
const NOT_ALL: u8 = 1;
/// Exit code for what cannot be begun.
const USAGE: u8 = 2;

/// Arguments of `pavs push`.
#[derive(Args, Debug)]
pub struct Push {
    /// MP4 file to push, or - for fragmented MP4 on standard input [default: a test picture and a tone]
    #[arg(value_name = "SOURCE")]
    source: Option<PathBuf>,

    /// Where to push to: an endpoint of any server, such as https://HOST:1234/streams/1
    #[arg(
        long,
        value_name = "URL",
        required_unless_present = "enroll",
        conflicts_with = "enroll"
    )]
    endpoint: Option<String>,

    /// A pavs to have a certificate and a stream made by, such as https://HOST:1234
    #[arg(long, value_name = "URL")]
    enroll: Option<String>,

    /// Name of the camera, for --enroll
    #[arg(
        long,
        value_name = "NAME",
        default_value = "cam-1",
        conflicts_with = "endpoint"
    )]
    name: String,

    /// Root certificate by which the server is verified, PEM [default: the system's; with --enroll, the one the server shows]
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,

    /// Client certificate, with those between it and its root, PEM
    #[arg(long, value_name = "FILE", conflicts_with = "enroll")]
    cert: Option<String>,

    /// Key of the client certificate, PEM [default: the file of --cert]
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<String>,

    /// Bearer token, for servers that want one
    #[arg(long, env = "PAVS_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,

    /// What is spoken: dash (MPD, segments), hls (playlists, segments) or cmaf-ingest (segments alone)
    #[arg(long, value_name = "INTERFACE", value_enum, default_value = "dash")]
    interface: Spoken,

    /// How tracks are called on cmaf-ingest
    #[arg(long, value_enum, default_value = "matter")]
    naming: Naming,

    /// Length of a segment; it ends at the next key frame
    #[arg(long, value_name = "SPAN", default_value = "4s")]
    segment_duration: Span,

    /// Send segments as they are made, in chunks of this length
    #[arg(long, value_name = "SPAN")]
    chunk_duration: Option<Span>,

    /// Tracks to push, and what to call them: video,audio=sound [default: all]
    #[arg(long, value_name = "TRACK[=NAME]", value_delimiter = ',')]
    tracks: Vec<String>,

    /// Which HTTP to speak
    #[arg(long, value_name = "VERSION", value_enum, default_value = "any")]
    http: Speak,

    /// A new connection for each object
    #[arg(long)]
    connection_per_object: bool,

    /// Method of uploads
    #[arg(long, value_enum, default_value = "put")]
    method: Verb,

    /// As fast as it goes, not in real time
    #[arg(long)]
    fast: bool,

    /// Play a file again and again
    #[arg(long = "loop")]
    again: bool,

    /// Length of a session [default: until the source ends, or Ctrl-C]
    #[arg(long, value_name = "SPAN")]
    duration: Option<Span>,

    /// Number of sessions, one after the other
    #[arg(long, value_name = "N", default_value_t = 1)]
    sessions: u64,

    /// Number of the first session
    #[arg(long, value_name = "N", default_value_t = 1)]
    first_session: u64,

    /// Number of cameras; {n} in --endpoint, --cert and --key is the number of each
    #[arg(long, value_name = "N", default_value_t = 1)]
    cameras: u32,

    /// Faults to have; pavs rules --misbehave lists them
    #[arg(long, value_name = "FAULT", value_delimiter = ',')]
    misbehave: Vec<String>,

    /// Tell what becomes of each object, and of all, as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Spoken {
    CmafIngest,
    Dash,
    Hls,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Verb {
    Put,
    Post,
}

impl Push {
    pub(super) fn run(self) -> ExitCode {
        let fail = |message: &str, code: u8| {
            eprintln!("error: {}", message.replace('\n', " "));
            ExitCode::from(code)
        };
        let options = match self.options() {
            Ok(options) => options,
            Err(message) => return fail(&message, USAGE),
        };
        let runtime = match tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime,
            Err(e) => return fail(&format!("cannot start: {e}"), NOT_ALL),
        };
        let ended = runtime.block_on(push::run(options));
        // A read of standard input cannot be ended.
        runtime.shutdown_background();
        match ended {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(NOT_ALL),
            Err(e) => fail(&e.chain(), USAGE),
        }
    }

    fn options(self) -> Result<Options, String> {
        let millis = self.segment_duration.0.as_millis();
        let (shortest, longest) = SEGMENT;
        if millis < u128::from(shortest) || millis > u128::from(longest) {
            return Err(format!(
                "--segment-duration takes from {shortest}ms to {longest}ms"
            ));
        }
        let target = match (self.endpoint, self.enroll) {
            (_, Some(url)) => Target::Enroll {
                url,
                name: self.name,
            },
            (Some(url), None) => Target::Endpoint {
                url,
                cert: self.cert,
                key: self.key,
            },
            (None, None) => {
                return Err("say where to push to, with --endpoint or --enroll".to_owned());
            }
        };
        Ok(Options {
            source: self.source,
            again: self.again,
            target,
            cacert: self.cacert,
            token: self.token.filter(|token| !token.is_empty()),
            interface: match self.interface {
                Spoken::CmafIngest => Interface::CmafIngest,
                Spoken::Dash => Interface::Dash,
                Spoken::Hls => Interface::Hls,
            },
            naming: self.naming,
            segment: self.segment_duration.0,
            chunk: self.chunk_duration.map(|span| span.0),
            tracks: self.tracks,
            http: self.http,
            once: self.connection_per_object,
            method: match self.method {
                Verb::Put => hyper::Method::PUT,
                Verb::Post => hyper::Method::POST,
            },
            is_fast: self.fast,
            whole: self.duration.map(|span| span.0),
            first_session: self.first_session,
            sessions: self.sessions,
            cameras: self.cameras,
            misbehave: self.misbehave,
            is_json: self.json,
        })
    }
}
