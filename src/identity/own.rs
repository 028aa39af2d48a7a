//! A server certificate made elsewhere: `--server-cert` and `--server-key`.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::pki;
use crate::workdir;
use crate::{Error, Kind, Result};

/// The two files, and what was in them when they were last good.
pub(super) struct OwnCertificate {
    cert: PathBuf,
    key: PathBuf,
    state: Mutex<State>,
}

struct State {
    good: Pair,
    /// What was found not to be good, so that it is said once.
    bad: Option<Pair>,
}

/// Texts of a certificate chain and its key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) chain: String,
    pub(super) key: String,
}

impl OwnCertificate {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// [`Kind::Invalid`] where one is missing or has nothing usable in it.
    pub(super) fn open(cert: PathBuf, key: PathBuf) -> Result<Self> {
        let good = read(&cert, &key)?;
        Ok(Self {
            cert,
            key,
            state: Mutex::new(State { good, bad: None }),
        })
    }

    pub(super) fn good(&self) -> Pair {
        self.lock().good.clone()
    }

    /// What the files hold now, if that is new. `try_out` says whether it can be used; what cannot is
    /// reported once, and what was good before stays in use.
    pub(super) fn reload(&self, try_out: impl FnOnce(&Pair) -> Result<()>) -> bool {
        let read = read(&self.cert, &self.key);
        // No lock is held while it is tried out: that asks for what is good now.
        let (found, tried) = match read {
            Ok(found) if found == self.lock().good => {
                self.lock().bad = None;
                return false;
            }
            Ok(found) if self.lock().bad.as_ref() == Some(&found) => return false,
            Ok(found) => {
                let tried = try_out(&found);
                (found, tried)
            }
            Err(e) => {
                let said = Pair {
                    chain: e.to_string(),
                    key: String::new(),
                };
                (said, Err(e))
            }
        };
        let mut state = self.lock();
        match tried {
            Ok(()) => {
                tracing::info!(
                    "the server certificate was read anew: {}",
                    self.cert.display()
                );
                *state = State {
                    good: found,
                    bad: None,
                };
                true
            }
            Err(e) => {
                if state.bad.as_ref() != Some(&found) {
                    tracing::warn!(
                        "{} and {} cannot be used, the certificate before them stays: {}",
                        self.cert.display(),
                        self.key.display(),
                        e.chain()
                    );
                    state.bad = Some(found);
                }
                false
            }
        }
    }

    /// The certificates of the file that sign themselves: what clients have to trust, where the file has it.
    pub(super) fn roots(&self) -> String {
        let certs = pki::describe_certs(&self.good().chain).unwrap_or_default();
        certs
            .iter()
            .filter(|cert| cert.is_self_signed)
            .map(|cert| cert.public_cert.as_str())
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(cert: &std::path::Path, key: &std::path::Path) -> Result<Pair> {
    let text = |flag, path: &std::path::Path| {
        workdir::read_small(path)?.ok_or_else(|| {
            Error::new(
                Kind::Invalid,
                format!(
                    "cannot use {flag} {}: there is no such file",
                    path.display()
                ),
            )
        })
    };
    let chain = text("--server-cert", cert)?;
    let key = text("--server-key", key)?;
    pki::describe_certs(&chain).map_err(|e| {
        Error::new(
            Kind::Invalid,
            format!("cannot use --server-cert {}: {e}", cert.display()),
        )
    })?;
    Ok(Pair { chain, key })
}
