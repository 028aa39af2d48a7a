//! Enrolments: tokens with which a device has its first certificate signed, without the admin's.

use std::time::Duration;

use super::Identity;
use super::tokens::{end_of, hash};
use crate::access::Granted;
use crate::catalog::{Audit, Enrolment, NewEnrolment, Stream, StreamChange};
use crate::pki::CertName;
use crate::workdir;
use crate::{Error, Kind, Result};

impl Identity {
    /// A new enrolment and its token, which is seen this one time. The stream, where one is given, is the
    /// device's from now on.
    pub(crate) async fn enrol(
        &self,
        granted: Granted,
        name: &CertName,
        life: Duration,
        stream: Option<&Stream>,
    ) -> Result<(Enrolment, String)> {
        let ends = end_of(life)?;
        let text = workdir::random_token()?;
        let by = granted.by().clone();
        if let Some(stream) = stream {
            match stream.owner.as_deref() {
                Some(owner) if owner == name.as_str() => {}
                Some(owner) => {
                    return Err(Error::new(
                        Kind::Conflict,
                        format!(
                            "stream {} is of device {owner:?}: bind it to {:?} with PATCH first",
                            stream.id,
                            name.as_str()
                        ),
                    ));
                }
                None => {
                    let change = StreamChange {
                        owner: Some(Some(name.as_str().to_owned())),
                        by: Some(by.clone()),
                        ..StreamChange::default()
                    };
                    self.0.catalog.change_stream(stream.id, change).await?;
                }
            }
        }
        let new = NewEnrolment {
            name: name.as_str().to_owned(),
            stream: stream.map(|stream| stream.id),
            hash: hash(&text),
            by: by.who.clone(),
            ends,
        };
        let made = self
            .0
            .catalog
            .write(move |tables| {
                let made = tables.add_enrolment(&new)?;
                tables.add_audit(&Audit {
                    by,
                    what: "enrolment-made",
                    subject: made.name.clone(),
                    before: serde_json::Value::Null,
                    after: serde_json::json!({
                        "id": made.id, "ends": made.ends, "stream": made.stream,
                    }),
                })?;
                Ok(made)
            })
            .await?;
        Ok((made, text))
    }

    /// Withdraws an enrolment that was not used yet.
    ///
    /// # Errors
    /// [`Kind::NotFound`], and [`Kind::Conflict`] where it is over.
    pub(crate) async fn withdraw_enrolment(&self, granted: Granted, id: i64) -> Result<()> {
        let by = granted.by().clone();
        let (known, withdrawn) = self
            .0
            .catalog
            .write(move |tables| {
                let Some(enrolment) = tables.enrolment(id)? else {
                    return Ok((false, false));
                };
                let withdrawn = tables.withdraw_enrolment(id)?;
                if withdrawn {
                    tables.add_audit(&Audit {
                        by,
                        what: "enrolment-withdrawn",
                        subject: enrolment.name,
                        before: serde_json::json!({"id": id, "ends": enrolment.ends}),
                        after: serde_json::Value::Null,
                    })?;
                }
                Ok((true, withdrawn))
            })
            .await?;
        match (known, withdrawn) {
            (_, true) => Ok(()),
            (false, _) => Err(Error::new(
                Kind::NotFound,
                format!("there is no enrolment {id}"),
            )),
            (true, false) => Err(Error::new(
                Kind::Conflict,
                format!("enrolment {id} is over: revoke the certificate if one was signed with it"),
            )),
        }
    }
}
