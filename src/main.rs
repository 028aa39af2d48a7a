//! The `pavs` command: reads what is asked, runs it, and says how it ended.

use std::io::Write;
use std::process::ExitCode;

use pavs::cli::{self, Request};
use pavs::server::{Server, Signals};
use pavs::{Error, telemetry};

/// Exit code for arguments that cannot be understood.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let (config, log_format) = match cli::parse(std::env::args_os()) {
        Ok(Request::Serve(config, log_format)) => (*config, log_format),
        Ok(Request::Command(command)) => return command.run(),
        Ok(Request::Print(text)) => {
            let _ = write!(std::io::stdout(), "{text}");
            return ExitCode::SUCCESS;
        }
        Err(message) => return fail(&message, USAGE),
    };
    if let Err(message) = telemetry::start(log_format) {
        return fail(&message, USAGE);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => return fail(&format!("cannot start: {e}"), 1),
    };
    let ran: Result<(), Error> = runtime.block_on(async {
        let signals = Signals::listen()?;
        signals.run(Server::bind(config).await?).await
    });
    // Work that is still blocked on the disk must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => fail(&e.chain(), 1),
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {}", message.replace('\n', " "));
    ExitCode::from(code)
}
