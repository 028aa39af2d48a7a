//! Log lines go to standard error: standard output stays free for what a command prints.

use std::fmt::Write as _;
use std::io::{self, Write};

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
        .with_writer(|| Visible(io::stderr()));
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

/// Writes characters that nobody sees, or that turn around what follows them, as `\uXXXX`: a name in an
/// upload's path must not make a line look like another. The form is also that of a JSON string.
struct Visible<W>(W);

impl<W: Write> Write for Visible<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The formatter writes a whole event at a time.
        match std::str::from_utf8(bytes) {
            Ok(text) if text.contains(is_invisible) => {
                self.0.write_all(visible(text).as_bytes())?
            }
            _ => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_invisible(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Format characters (Unicode category Cf), line and paragraph separators, and C1 controls.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
        | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_spelled_out() {
        for (text, expected) in [
            ("file=a\u{202e}b\n", "file=a\\u202eb\n"),
            ("a\u{2066}b\u{200b}", "a\\u2066b\\u200b"),
            ("\u{e0041}", "\\udb40\\udc41"),
            ("küche-视频 🎥\n", "küche-视频 🎥\n"),
        ] {
            let mut written = Visible(Vec::new());
            written.write_all(text.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(written.0).unwrap(), expected);
        }
        let mut written = Visible(Vec::new());
        written.write_all(b"\xff\n").unwrap();
        assert_eq!(written.0, b"\xff\n");
    }
}
