//! The `openssl` command: an independent maker of keys and requests, and an independent judge.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;

use time::{Duration, OffsetDateTime};

use super::{Authority, Validity};

/// The OpenSSL command in a temporary directory of its own, where all file names are relative.
pub(super) struct Openssl {
    dir: tempfile::TempDir,
}

impl Openssl {
    /// `None`, said on stderr, where the command is absent and `PAVS_SKIP_CLIENTS=1` allows that.
    pub(super) fn find() -> Option<Self> {
        let found = Command::new("openssl").arg("version").output();
        if found.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            let allowed = std::env::var_os("PAVS_SKIP_CLIENTS").is_some_and(|value| value == "1");
            assert!(
                allowed,
                "the openssl command is missing: install the package openssl, or set PAVS_SKIP_CLIENTS=1"
            );
            eprintln!("skipped: the openssl command is missing");
            return None;
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        Some(Self { dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), text).expect("writable");
    }

    pub(super) fn read(&self, name: &str) -> String {
        String::from_utf8(std::fs::read(self.path(name)).expect(name)).expect("text")
    }

    /// Runs `openssl` with the words of `line` and then `more`; gives stdout, or stderr on failure.
    pub(super) fn try_run(&self, line: &str, more: &[&str]) -> Result<String, String> {
        let output = Command::new("openssl")
            .args(line.split_whitespace())
            .args(more)
            .current_dir(self.dir.path())
            .output()
            .expect("openssl runs");
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    pub(super) fn run(&self, line: &str) -> String {
        self.run_with(line, &[])
    }

    pub(super) fn run_with(&self, line: &str, more: &[&str]) -> String {
        self.try_run(line, more)
            .unwrap_or_else(|error| panic!("openssl {line} {more:?}: {error}"))
    }

    /// A new key file. `kind` is `rsa:BITS`, a curve name or another algorithm's name.
    pub(super) fn make_key(&self, file: &str, kind: &str) {
        let how = match kind.strip_prefix("rsa:") {
            Some(bits) => format!("-algorithm RSA -pkeyopt rsa_keygen_bits:{bits}"),
            None if kind.starts_with("P-") || kind.starts_with("secp") => {
                format!("-algorithm EC -pkeyopt ec_paramgen_curve:{kind}")
            }
            None => format!("-algorithm {kind}"),
        };
        self.run(&format!("genpkey -quiet {how} -out {file}"));
    }

    /// A request for the key in `key`, with the options of `openssl req` in `options`.
    pub(super) fn make_csr(&self, key: &str, options: &str) -> String {
        self.run(&format!(
            "req -new -key {key} -subj /O=cam/CN=device {options}"
        ))
    }

    /// Lets `openssl verify -x509_strict` judge a leaf under a root.
    pub(super) fn verify(
        &self,
        root_pem: &str,
        leaf_pem: &str,
        options: &str,
    ) -> Result<String, String> {
        self.write("verify-root.pem", root_pem);
        self.write("verify-leaf.pem", leaf_pem);
        self.try_run(
            &format!("verify -x509_strict -check_ss_sig {options} -CAfile verify-root.pem verify-leaf.pem"),
            &[],
        )
    }
}

pub(super) fn device_root() -> Authority {
    Authority::generate("device", OffsetDateTime::now_utc()).expect("random numbers")
}

pub(super) fn a_year() -> Validity {
    Validity::from_now(OffsetDateTime::now_utc(), Duration::days(365))
}
