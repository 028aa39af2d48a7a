//! The command line: the only reader of the arguments.

use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use crate::commands;
use crate::config::{Config, LogFormat, Options};

/// The server that cameras push to.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    disable_help_subcommand = true,
    arg_required_else_help = false
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(Box<Serve>),
    #[command(flatten)]
    Other(commands::Command),
    /// Print the completions for a shell, to be read by it
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, to be read by man
    Man,
}

#[derive(Args, Debug)]
struct Serve {
    /// File with settings: TOML, the flags' names as keys
    #[arg(long, env = "PAVS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    options: Options,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Request {
    /// Run the server with these settings.
    Serve(Box<Config>, LogFormat),
    /// Do something else.
    Command(commands::Command),
    /// Print this text (help or version) and end.
    Print(String),
}

/// Reads the arguments, the environment and the configuration file.
///
/// # Errors
/// One line of text that says which value is wrong and what it takes.
pub fn parse<I>(arguments: I) -> Result<Request, String>
where
    I: IntoIterator<Item = std::ffi::OsString>,
{
    let parsed = command()
        .try_get_matches_from(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(e) if !e.use_stderr() => return Ok(Request::Print(e.to_string())),
        Err(e) => return Err(one_line(&e.to_string())),
    };
    let serve = match cli.command {
        Command::Serve(serve) => serve,
        Command::Other(command) => return Ok(Request::Command(command)),
        Command::Completions { shell } => return Ok(Request::Print(completions(shell))),
        Command::Man => return Ok(Request::Print(manual()?)),
    };
    let file = serve
        .config
        .as_deref()
        .map(Options::from_file)
        .transpose()?
        .unwrap_or_default();
    let options = serve.options.or(file);
    let log_format = options.log_format.unwrap_or_default();
    Ok(Request::Serve(
        Box::new(Config::resolve(options)?),
        log_format,
    ))
}

/// The command without those environment variables that are empty: compose files and unit files pass a
/// setting that nobody made as an empty one.
fn command() -> clap::Command {
    let is_empty = |arg: &clap::Arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        value.is_some_and(|value| value.is_empty())
    };
    Cli::command().mut_subcommand("serve", |serve| {
        serve.mut_args(|arg| {
            if is_empty(&arg) {
                arg.env(None::<&'static str>)
            } else {
                arg
            }
        })
    })
}

fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "pavs", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The manual: the command's own page, and those of its sub-commands behind it.
fn manual() -> Result<String, String> {
    let mut pages = Vec::new();
    let mut whole = command();
    whole.build();
    let commands: Vec<clap::Command> = whole.get_subcommands().cloned().collect();
    for page in std::iter::once(whole.clone()).chain(commands) {
        clap_mangen::Man::new(page)
            .render(&mut pages)
            .map_err(|e| format!("the manual page cannot be written: {e}"))?;
    }
    Ok(String::from_utf8_lossy(&pages).into_owned())
}

/// The first paragraph of clap's message, which carries the fault, without its usage appendix.
fn one_line(message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let paragraph: Vec<&str> = message
        .lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    format!("{} (see pavs --help)", paragraph.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Result<Request, String> {
        parse(line.split_whitespace().map(Into::into))
    }

    #[test]
    fn strict_mode_needs_no_value_and_takes_one() {
        for (line, expected) in [
            ("pavs serve", false),
            ("pavs serve --strict-mode", true),
            ("pavs serve --strict-mode=false", false),
            ("pavs serve --strict-mode=1", true),
            ("pavs serve --strict-mode=off", false),
        ] {
            let Ok(Request::Serve(config, _)) = run(line) else {
                panic!("{line}")
            };
            assert_eq!(config.strict_mode, expected, "{line}");
        }
    }

    #[test]
    fn a_wrong_value_is_one_line() {
        for line in [
            "pavs serve --port abc",
            "pavs serve --port 99999",
            "pavs serve --access none",
            "pavs serve --server-ip x",
            "pavs serve --body-timeout 0s",
            "pavs serve --nope",
            "pavs",
            "pavs fly",
        ] {
            let error = run(line).unwrap_err();
            assert!(
                !error.contains('\n') && !error.is_empty(),
                "{line}: {error}"
            );
        }
    }

    #[test]
    fn help_and_version_are_printed() {
        for line in [
            "pavs --help",
            "pavs serve --help",
            "pavs --version",
            "pavs completions bash",
            "pavs completions zsh",
            "pavs completions fish",
            "pavs man",
        ] {
            assert!(
                matches!(run(line), Ok(Request::Print(text)) if !text.is_empty()),
                "{line}"
            );
        }
    }
}
