//! Log lines go to standard error: standard output stays free for what a command prints.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::LogFormat;

/// Starts logging. `RUST_LOG` chooses what is logged; without it everything from `info` on.
///
/// # Errors
/// One line of text when `RUST_LOG` cannot be understood.
pub fn start(format: LogFormat) -> Result<(), String> {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .try_from_env_or_default()?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would report a closed standard error to standard error, and panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => lines.with_ansi(false).with_target(false).try_init(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .try_init(),
    };
    started.map_err(|e| format!("cannot start logging: {e}"))
}

trait FromEnvOrDefault {
    fn try_from_env_or_default(self) -> Result<EnvFilter, String>;
}

impl FromEnvOrDefault for tracing_subscriber::filter::Builder {
    fn try_from_env_or_default(self) -> Result<EnvFilter, String> {
        match std::env::var("RUST_LOG") {
            Ok(text) => self.parse(text).map_err(|e| format!("RUST_LOG: {e}")),
            Err(_) => self.parse("").map_err(|e| e.to_string()),
        }
    }
}
