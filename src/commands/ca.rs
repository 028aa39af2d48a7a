//! `pavs ca`.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::print;
use super::target::Directory;
use crate::config::Span;

/// Arguments of `pavs ca`.
#[derive(Args, Debug)]
pub struct Ca {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Put a new root in the place of one; certificates of both are good for a while
    Rotate {
        /// The root of the server's certificate, or that of the devices'
        hierarchy: Which,
        /// How long the old root stays trusted
        #[arg(long, value_name = "SPAN", default_value = "30d", value_parser = span)]
        overlap: String,
        /// When the server begins to show a certificate of its new root [default: half of --overlap]
        #[arg(long, value_name = "SPAN", value_parser = span_or_none)]
        switch_after: Option<String>,
        #[command(flatten)]
        directory: Directory,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    Server,
    Device,
}

/// Checks it here, where a mistake is one of usage; the server reads it.
fn span(text: &str) -> Result<String, String> {
    text.parse::<Span>().map(|_| text.to_owned())
}

/// The same, or no time at all.
fn span_or_none(text: &str) -> Result<String, String> {
    if matches!(text, "0" | "0s") {
        return Ok(text.to_owned());
    }
    span(text)
}

impl Ca {
    pub(super) fn run(self) -> ExitCode {
        let What::Rotate {
            hierarchy,
            overlap,
            switch_after,
            directory,
        } = self.what;
        let (name, todo) = match hierarchy {
            Which::Server => (
                "server",
                "give clients what GET /api/v1/ca answers before then",
            ),
            Which::Device => (
                "device",
                "have devices sign up for new certificates before then",
            ),
        };
        directory.run(async |target| {
            let wanted = json!({
                "hierarchy": name,
                "overlap": overlap,
                "switch_after": switch_after,
            });
            let done = target
                .send("POST", "/api/v1/ca/rotate", Some(&wanted))
                .await?;
            let said = |key| done.get(key).and_then(|it| it.as_str()).unwrap_or("?");
            print(&format!(
                "the {name} root is a new one, SHA-256 {}\nthe old one is trusted until {}: {todo}\n",
                said("fingerprint"),
                said("old_trusted_until"),
            ));
            if let Some(from) = done.get("shown_from").and_then(|it| it.as_str()) {
                print(&format!(
                    "the server shows a certificate of its new root from {from} on\n"
                ));
            }
            Ok(())
        })
    }
}
