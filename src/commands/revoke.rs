//! `pavs revoke`.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::target::{Directory, Target, encoded};
use super::{print, text};
use crate::{Error, Kind, Result};

/// Arguments of `pavs revoke`.
#[derive(Args, Debug)]
pub struct Revoke {
    /// Name of a device, or serial number or fingerprint of one certificate
    #[arg(value_name = "NAME|SERIAL")]
    which: String,

    #[command(flatten)]
    directory: Directory,
}

impl Revoke {
    pub(super) fn run(self) -> ExitCode {
        self.directory.run(async |target| {
            let answer = match is_a_device(target, &self.which).await? {
                true => format!("/certs/device/{}", encoded(&self.which)),
                false => format!("/api/v1/certificates/{}", encoded(&self.which)),
            };
            let answer = target.send("DELETE", &answer, None).await?;
            let revoked = answer.get("revoked").and_then(Value::as_array);
            let revoked = revoked.map_or(&[][..], Vec::as_slice);
            if revoked.is_empty() {
                print("nothing to revoke: it was revoked before\n");
            }
            for one in revoked {
                print(&format!(
                    "revoked: {:?}, serial {}\n",
                    text(one, "name"),
                    text(one, "serial")
                ));
            }
            Ok(())
        })
    }
}

/// A name counts first: serial numbers and fingerprints are chosen by nobody.
async fn is_a_device(target: &Target, name: &str) -> Result<bool> {
    let path = format!("/api/v1/devices/{}", encoded(name));
    match target.send("GET", &path, None).await {
        Ok(device) => Ok(device
            .get("certificates")
            .and_then(Value::as_array)
            .is_some_and(|held| !held.is_empty())),
        Err(e) if e.kind() == Kind::NotFound => Ok(false),
        Err(e) => Err(Error::new(e.kind(), e.message())),
    }
}
