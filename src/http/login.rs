//! Logging in with a token: what a browser sends from then on is a cookie that stands for it.
//!
//! The token itself never leaves in an answer. It is asked about anew with every request, so that a token
//! that is withdrawn takes its logins with it. Kept in memory: a restart logs everybody out.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

use crate::{Error, Kind, Result};

/// Name of the cookie. Browsers take one of this prefix only from the host itself, by HTTPS, for all paths.
const COOKIE: &str = "__Host-pavs";
/// How long a login lasts.
const LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// Logins at a time; the oldest one makes room.
const MOST: usize = 256;

/// Who is logged in.
#[derive(Default)]
pub(crate) struct Logins(Mutex<HashMap<Digest, Login>>);

/// SHA-256 of what the cookie says.
type Digest = [u8; 32];

struct Login {
    token: String,
    ends: Instant,
}

impl Logins {
    /// Logs the bearer of a token in, and returns the field that sets the cookie.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the system gives no random numbers.
    pub(super) fn open(&self, token: &str) -> Result<String> {
        let mut bytes = [0_u8; 32];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| Error::new(Kind::Internal, "the system gives no random numbers"))?;
        let mut secret = String::with_capacity(64);
        for byte in bytes {
            let _ = write!(secret, "{byte:02x}");
        }
        let now = Instant::now();
        let mut logins = self.lock();
        logins.retain(|_, login| login.ends > now);
        if logins.len() >= MOST
            && let Some(oldest) = logins
                .iter()
                .min_by_key(|(_, login)| login.ends)
                .map(|(digest, _)| *digest)
        {
            logins.remove(&oldest);
        }
        logins.insert(
            hashed(&secret),
            Login {
                token: token.to_owned(),
                ends: now + LIFETIME,
            },
        );
        Ok(format!(
            "{COOKIE}={secret}; Path=/; Max-Age={}; Secure; HttpOnly; SameSite=Strict",
            LIFETIME.as_secs()
        ))
    }

    /// The token that the request's cookie stands for.
    pub(super) fn token(&self, headers: &HeaderMap) -> Option<String> {
        let key = hashed(cookie(headers)?);
        let logins = self.lock();
        let login = logins.get(&key)?;
        (login.ends > Instant::now()).then(|| login.token.clone())
    }

    /// Ends the request's login, and returns the field that takes the cookie back.
    pub(super) fn close(&self, headers: &HeaderMap) -> String {
        if let Some(secret) = cookie(headers) {
            self.lock().remove(&hashed(secret));
        }
        format!("{COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict")
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Login>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value)
}

fn hashed(secret: &str) -> Digest {
    let mut key = Digest::default();
    key.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(set: &str) -> HeaderMap {
        let pair = set.split(';').next().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, format!("a=b; {pair}").parse().unwrap());
        headers
    }

    #[test]
    fn a_cookie_stands_for_its_token_until_it_is_closed() {
        let logins = Logins::default();
        let (one, two) = (
            logins.open("first").unwrap(),
            logins.open("second").unwrap(),
        );
        assert!(!one.contains("first") && one.ends_with("Secure; HttpOnly; SameSite=Strict"));
        assert_eq!(logins.token(&request(&one)).as_deref(), Some("first"));
        logins.close(&request(&one));
        assert_eq!(logins.token(&request(&one)), None);
        assert_eq!(logins.token(&request(&two)).as_deref(), Some("second"));
        assert_eq!(logins.token(&request("__Host-pavs=0; x")), None);
    }

    #[test]
    fn the_oldest_login_makes_room() {
        let logins = Logins::default();
        let first = logins.open("first").unwrap();
        for _ in 0..MOST {
            logins.open("other").unwrap();
        }
        assert_eq!(logins.token(&request(&first)), None);
        assert_eq!(logins.lock().len(), MOST);
    }
}
