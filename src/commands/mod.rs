//! The sub-commands that are not the server: one file each.
//!
//! Each has its arguments and a `run` that does the work and says how it ended.

mod ca;
mod check;
mod devices;
mod enrol;
mod files;
mod probe;
mod push;
mod revoke;
mod rules;
mod target;
mod token;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

/// Exit code of a command that could not do what it was asked to.
const COULD_NOT: u8 = 2;

/// A sub-command other than `serve`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what is in media files, as ffprobe does
    Probe(probe::Probe),
    /// Hold media files, or a directory of them, against the rules
    Check(check::Check),
    /// Be a camera: push media to a server
    Push(Box<push::Push>),
    /// List the rules that uploads are held against
    Rules(rules::Rules),
    /// List the devices, their certificates, and when each was last here
    Devices(devices::Devices),
    /// Give a device leave to have a certificate signed
    Enrol(enrol::Enrol),
    /// Make certificates of a device invalid
    Revoke(revoke::Revoke),
    /// Change the roots
    Ca(ca::Ca),
    /// Change the admin's token, and make tokens for others
    Token(token::Token),
}

impl Command {
    /// Does it.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self {
            Self::Probe(probe) => probe.run(),
            Self::Check(check) => check.run(),
            Self::Push(push) => push.run(),
            Self::Rules(rules) => rules.run(),
            Self::Devices(devices) => devices.run(),
            Self::Enrol(enrol) => enrol.run(),
            Self::Revoke(revoke) => revoke.run(),
            Self::Ca(ca) => ca.run(),
            Self::Token(token) => token.run(),
        }
    }
}

/// Writes to standard output. That nobody reads on is no fault.
fn print(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// Writes what was asked for and gives `code`. Who stops reading early has had enough; who cannot be
/// written to otherwise is told.
fn answer(text: &str, code: ExitCode) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            could_not(&format!("cannot write the output: {e}"))
        }
        _ => code,
    }
}

/// Says why nothing came of it.
fn could_not(message: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {}", message.replace('\n', " "));
    ExitCode::from(COULD_NOT)
}

/// How a command prints what it was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// As the API gives it.
    Json,
}

/// The text of a field; nothing where there is none.
fn text<'v>(value: &'v serde_json::Value, key: &str) -> &'v str {
    value
        .get(key)
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default()
}
