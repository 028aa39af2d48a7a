//! `pavs devices`.

use std::process::ExitCode;

use clap::Args;
use comfy_table::{Table, presets};
use serde_json::Value;

use super::target::Directory;
use super::{print, text};

/// Arguments of `pavs devices`.
#[derive(Args, Debug)]
pub struct Devices {
    /// How the devices are printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: super::Format,

    #[command(flatten)]
    directory: Directory,
}

impl Devices {
    pub(super) fn run(self) -> ExitCode {
        self.directory.run(async |target| {
            let devices = target.all("/api/v1/devices", "devices").await?;
            match self.format {
                super::Format::Json => print(&format!("{:#}\n", Value::Array(devices))),
                super::Format::Text => print(&format!("{}\n", table(&devices))),
            }
            Ok(())
        })
    }
}

fn table(devices: &[Value]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "NAME",
        "CERTIFICATE",
        "UNTIL",
        "STREAMS",
        "LAST SEEN",
        "FROM",
        "TLS",
        "CLIENT",
        "UPLOADS",
        "ERRORS",
    ]);
    for device in devices {
        let newest = device.pointer("/certificates/0").unwrap_or(&Value::Null);
        let seen = device.get("last_seen").unwrap_or(&Value::Null);
        let streams = device.get("streams").and_then(Value::as_array);
        let streams: Vec<String> = streams
            .into_iter()
            .flatten()
            .map(ToString::to_string)
            .collect();
        table.add_row([
            text(device, "name"),
            text(newest, "state"),
            day(text(newest, "not_after")),
            &streams.join(","),
            text(seen, "at"),
            text(seen, "address"),
            text(seen, "tls_version"),
            text(seen, "client"),
            &number(device, "uploads"),
            &number(device, "errors"),
        ]);
    }
    table
}

fn number(value: &Value, key: &str) -> String {
    value.get(key).map(ToString::to_string).unwrap_or_default()
}

fn day(time: &str) -> &str {
    time.split_once('T').map_or(time, |(day, _)| day)
}
