//! Devices: `/api/v1/devices`.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use time::OffsetDateTime;

use super::extract::{Caller, Query};
use super::page::{Page, paged};
use super::state::AppState;
use crate::access::Action;
use crate::catalog::{CertificateRow, Device, Tables, Which};
use crate::clock::Timestamp;
use crate::names::StreamId;
use crate::{Error, Kind, Result, pki};

/// Newest certificates, and newest streams, that are shown of a device.
const LISTED: usize = 100;
/// A certificate whose end is nearer than this is expiring.
const SOON: time::Duration = time::Duration::days(30);

#[derive(Serialize)]
pub(super) struct DeviceView {
    pub(super) name: String,
    /// Newest first.
    pub(super) certificates: Vec<CertificateView>,
    pub(super) streams: Vec<StreamId>,
    pub(super) last_seen: Option<SeenView>,
    pub(super) uploads: i64,
    pub(super) errors: i64,
}

#[derive(Serialize)]
pub(super) struct SeenView {
    pub(super) at: Timestamp,
    pub(super) address: Option<String>,
    pub(super) tls_version: Option<String>,
    pub(super) client: Option<String>,
}

#[derive(Serialize)]
pub(super) struct CertificateView {
    pub(super) serial: String,
    pub(super) fingerprint: String,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) state: Standing,
    /// When it was issued; null: not by this server.
    pub(super) issued: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) revoked: Option<Timestamp>,
    /// From when on it is refused, as a newer one has taken its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) superseded: Option<Timestamp>,
}

/// What a certificate is good for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Standing {
    Valid,
    /// Valid, for less than 30 days.
    Expiring,
    Expired,
    Revoked,
    /// Another one has taken its place; it is good until `superseded`.
    Superseded,
}

#[derive(Serialize)]
pub(super) struct Listing {
    pub(super) devices: Vec<DeviceView>,
    pub(super) next: Option<String>,
}

/// `GET /api/v1/devices`
pub(super) async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Query(page): Query<Page<String>>,
) -> Result<Response> {
    Ok(axum::Json(read(&state, &caller, page).await?).into_response())
}

/// The body of that.
pub(super) async fn read(state: &AppState, caller: &Caller, page: Page<String>) -> Result<Listing> {
    caller.may(state, Action::ReadIdentity, None).await?;
    let limit = page.limit()?;
    let after = page.after.unwrap_or_default();
    state.seen.write_down(&state.catalog).await?;
    let devices = state
        .catalog
        .read(move |tables| {
            tables
                .devices(&after, limit + 1)?
                .into_iter()
                .map(|device| view(tables, device))
                .collect::<rusqlite::Result<Vec<_>>>()
        })
        .await?;
    let (devices, next) = paged(devices, limit, |device| device.name.clone());
    Ok(Listing { devices, next })
}

/// `GET /api/v1/devices/{name}`
pub(super) async fn show(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Response> {
    caller.may(&state, Action::ReadIdentity, None).await?;
    state.seen.write_down(&state.catalog).await?;
    let asked = name.clone();
    let device = state
        .catalog
        .read(move |tables| {
            let device = tables.device(&asked)?;
            device.map(|device| view(tables, device)).transpose()
        })
        .await?;
    let device =
        device.ok_or_else(|| Error::new(Kind::NotFound, format!("there is no device {name:?}")))?;
    Ok(axum::Json(device).into_response())
}

impl Standing {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Superseded => "superseded",
        }
    }
}

fn view(tables: &Tables<'_>, device: Device) -> rusqlite::Result<DeviceView> {
    let now = OffsetDateTime::now_utc();
    let which = Which::Name(device.name.clone());
    Ok(DeviceView {
        certificates: tables
            .device_certificates(&which, LISTED)?
            .into_iter()
            .filter_map(|row| certificate(row, now))
            .collect(),
        streams: tables.streams_of(&device.name, LISTED)?,
        last_seen: device.seen.map(|at| SeenView {
            at,
            address: device.address,
            tls_version: device.tls_version,
            client: device.client,
        }),
        uploads: device.uploads,
        errors: device.errors,
        name: device.name,
    })
}

/// `None` for what cannot be read: a peer showed it and was verified, so that does not happen.
fn certificate(row: CertificateRow, now: OffsetDateTime) -> Option<CertificateView> {
    let validity = pki::describe_cert(&row.der).ok()?.validity;
    Some(CertificateView {
        state: state_of(&row, validity.not_after, now),
        serial: row.serial,
        fingerprint: row.fingerprint,
        not_before: Timestamp::from(std::time::SystemTime::from(validity.not_before)),
        not_after: Timestamp::from(std::time::SystemTime::from(validity.not_after)),
        issued: row.issued,
        revoked: row.revoked,
        superseded: row.superseded,
    })
}

fn state_of(row: &CertificateRow, not_after: OffsetDateTime, now: OffsetDateTime) -> Standing {
    if row.revoked.is_some() {
        Standing::Revoked
    } else if not_after < now {
        Standing::Expired
    } else if row.superseded.is_some() {
        Standing::Superseded
    } else if not_after - now < SOON {
        Standing::Expiring
    } else {
        Standing::Valid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_certificates() {
        let now = OffsetDateTime::now_utc();
        let day = time::Duration::DAY;
        let then = Some(Timestamp::now());
        for (revoked, superseded, not_after, expected) in [
            (None, None, now + 31 * day, Standing::Valid),
            (None, None, now + 29 * day, Standing::Expiring),
            (None, None, now - day, Standing::Expired),
            (None, then, now + 31 * day, Standing::Superseded),
            (None, then, now - day, Standing::Expired),
            (then, then, now + day, Standing::Revoked),
            (then, None, now - day, Standing::Revoked),
        ] {
            let row = CertificateRow {
                fingerprint: String::new(),
                name: String::new(),
                serial: String::new(),
                issued: None,
                not_after: None,
                revoked,
                superseded,
                der: Vec::new(),
            };
            assert_eq!(state_of(&row, not_after, now), expected);
        }
    }
}
