//! `pavs enrol`.

use std::process::ExitCode;

use clap::Args;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use serde_json::Value;

use super::target::{Directory, encoded};
use super::{print, text};
use crate::{Error, Result};

/// Arguments of `pavs enrol`.
#[derive(Args, Debug)]
pub struct Enrol {
    /// Name of the device
    name: String,

    /// How long the token is good
    #[arg(long, default_value = "1h", value_name = "SPAN")]
    ttl: String,

    /// Stream that is to belong to the device
    #[arg(long, value_name = "ID")]
    stream: Option<i64>,

    /// Address under which the device reaches the server [default: --public-url of the server]
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// How the answer is printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: super::Format,

    #[command(flatten)]
    directory: Directory,
}

impl Enrol {
    pub(super) fn run(self) -> ExitCode {
        self.directory.run(async |target| {
            let mut wanted = serde_json::json!({"name": self.name, "ttl": self.ttl});
            if let Some(stream) = self.stream {
                wanted["stream"] = stream.into();
            }
            let made = target
                .send("POST", "/api/v1/enrolments", Some(&wanted))
                .await?;
            if self.format == super::Format::Json {
                print(&format!("{made:#}\n"));
                return Ok(());
            }
            let path = format!("/certs/{}/sign", encoded(&self.name));
            let url = match (&self.url, made.get("url").and_then(Value::as_str)) {
                (Some(url), _) => format!("{}{path}", url.trim_end_matches('/')),
                (None, Some(url)) => url.to_owned(),
                (None, None) => format!("{}{path}", target.url().unwrap_or("https://SERVER:1234")),
            };
            print(&sheet(&made, &url)?);
            Ok(())
        })
    }
}

/// What is handed to whoever sets up the device.
fn sheet(made: &Value, url: &str) -> Result<String> {
    let (name, token, ca) = (
        text(made, "name"),
        text(made, "token"),
        text(made, "ca_sha256"),
    );
    let code = serde_json::json!({"url": url, "token": token, "ca_sha256": ca}).to_string();
    // A screen has no dirt to correct, and 80 columns to fit into.
    let code = QrCode::with_error_correction_level(&code, EcLevel::L)
        .map_err(|e| Error::internal("the code cannot be drawn", e))?;
    // Terminals are dark: what is drawn on them is the light part.
    let code = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .quiet_zone(true)
        .build();
    Ok(format!(
        "Token for {name:?}, good once, until {ends}:\n\n  {token}\n\n\
         On the device, with a signing request in cam.csr, and in ca.pem the root that\n\
         /certs/server/root.pem gives (SHA-256 of its DER: {ca}):\n\n  \
         curl --cacert ca.pem -H 'Authorization: Bearer {token}' \\\n       \
         -H 'Content-Type: application/x-pem-file' --data-binary @cam.csr \\\n       \
         '{url}'\n\n{code}\n",
        ends = text(made, "ends"),
    ))
}
