//! Bearer tokens: made, recognised, withdrawn. Of each only its SHA-256 is kept.

use std::time::{Duration, SystemTime};

use super::Identity;
use crate::access::Granted;
use crate::catalog::{Audit, EnrolmentState, NewToken, Role, Token};
use crate::clock::Timestamp;
use crate::workdir;
use crate::{Error, Kind, Result};

/// Longest life of a token.
const MAX_LIFE: Duration = Duration::from_secs(3650 * 86_400);
/// Most tokens at a time.
const MAX_TOKENS: usize = 1000;
/// Longest name, in characters.
const MAX_NAME: usize = 64;

/// Whose a bearer token is.
pub(crate) enum Bearer {
    /// The one with this name and role.
    Token(Role, String),
    /// That of an enrolment, by its number and the device's name. It may be used already.
    Enrolment(i64, String),
}

impl Identity {
    /// Whose this token is; `None` where it is not known.
    ///
    /// # Errors
    /// [`Kind::Unidentified`] where it was good once.
    pub(crate) async fn bearer(&self, text: &str) -> Result<Option<Bearer>> {
        let hash = hash(text);
        let (token, enrolment) = self
            .0
            .catalog
            .look_up(move |tables| Ok((tables.token(&hash)?, tables.enrolment_by_token(&hash)?)))
            .await?;
        if let Some(token) = token {
            return match token.ends <= Timestamp::now() {
                true => Err(Error::new(
                    Kind::Unidentified,
                    format!("the token {:?} has ended: have a new one made", token.name),
                )),
                false => Ok(Some(Bearer::Token(token.role, token.name))),
            };
        }
        let Some(enrolment) = enrolment else {
            return Ok(None);
        };
        let over = match enrolment.state {
            EnrolmentState::Used if enrolment.ends <= Timestamp::now() => "was used already",
            EnrolmentState::Open | EnrolmentState::Used => {
                return Ok(Some(Bearer::Enrolment(enrolment.id, enrolment.name)));
            }
            EnrolmentState::Expired => "has expired",
            EnrolmentState::Withdrawn => "was withdrawn",
        };
        Err(Error::new(
            Kind::Unidentified,
            format!("this enrolment token {over}: ask for a new one"),
        ))
    }

    /// A new token and its text, which is seen this one time.
    pub(crate) async fn make_token(
        &self,
        granted: Granted,
        name: String,
        role: Role,
        life: Duration,
    ) -> Result<(Token, String)> {
        check_name(&name)?;
        let text = workdir::random_token()?;
        let by = granted.by().clone();
        let new = NewToken {
            name: name.clone(),
            role,
            hash: hash(&text),
            by: by.who.clone(),
            ends: end_of(life)?,
        };
        let audit = Audit {
            by,
            what: "token-made",
            subject: name.clone(),
            before: serde_json::Value::Null,
            after: serde_json::json!({"role": role, "ends": new.ends}),
        };
        let made = self
            .0
            .catalog
            .write(move |tables| {
                if tables.tokens(0, MAX_TOKENS)?.len() >= MAX_TOKENS {
                    return Ok(Err(()));
                }
                let made = tables.add_token(&new)?;
                if made.is_some() {
                    tables.add_audit(&audit)?;
                }
                Ok(Ok(made))
            })
            .await?;
        match made {
            Ok(Some(token)) => Ok((token, text)),
            Ok(None) => Err(Error::new(
                Kind::Conflict,
                format!("there is a token {name:?}: withdraw it first, or choose another name"),
            )),
            Err(()) => Err(Error::new(
                Kind::Conflict,
                format!("there are {MAX_TOKENS} tokens: withdraw some first"),
            )),
        }
    }

    /// Withdraws a token: it is dead from the next request on.
    pub(crate) async fn remove_token(&self, granted: Granted, id: i64) -> Result<()> {
        let by = granted.by().clone();
        let removed = self
            .0
            .catalog
            .write(move |tables| {
                let removed = tables.remove_token(id)?;
                if let Some(token) = &removed {
                    tables.add_audit(&Audit {
                        by,
                        what: "token-withdrawn",
                        subject: token.name.clone(),
                        before: serde_json::json!({"role": token.role, "ends": token.ends}),
                        after: serde_json::Value::Null,
                    })?;
                }
                Ok(removed)
            })
            .await?;
        removed
            .map(drop)
            .ok_or_else(|| Error::new(Kind::NotFound, format!("there is no token {id}")))
    }

    /// Puts a new token into `admin.token`; `take` is told it before another can take its place.
    pub(crate) async fn rotate_admin_token(
        &self,
        granted: Granted,
        take: impl FnOnce(&str),
    ) -> Result<String> {
        let _changing = self.0.issuing.lock().await;
        let audit = Audit {
            by: granted.by().clone(),
            what: "admin-token-rotated",
            subject: "admin.token".to_owned(),
            before: serde_json::Value::Null,
            after: serde_json::Value::Null,
        };
        self.0
            .catalog
            .write(move |tables| tables.add_audit(&audit))
            .await?;
        let text = workdir::new_admin_token(&self.0.workdir)?;
        take(&text);
        Ok(text)
    }
}

/// What is kept of a token. It has 256 random bits, so one round of SHA-256 is enough.
pub(super) fn hash(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// When something ends that is good for `life` from now on.
pub(super) fn end_of(life: Duration) -> Result<Timestamp> {
    if life > MAX_LIFE {
        return Err(Error::new(Kind::Invalid, "\"ttl\" is at most 3650d"));
    }
    Ok(Timestamp::from(SystemTime::now() + life))
}

fn check_name(name: &str) -> Result<()> {
    let fits = (1..=MAX_NAME).contains(&name.chars().count())
        && !name.chars().any(char::is_control)
        && name.trim() == name;
    if fits {
        return Ok(());
    }
    Err(Error::new(
        Kind::Invalid,
        "\"name\" needs 1 to 64 characters, no control characters, and no white space at its ends",
    ))
}
