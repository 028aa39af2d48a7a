//! Enrolments: `/api/v1/enrolments`.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::extract::{Caller, Json, Query};
use super::page::{Page, paged};
use super::state::AppState;
use super::tokens::{life, secret};
use crate::access::Action;
use crate::catalog::Enrolment;
use crate::names::StreamId;
use crate::pki::{self, CertName};
use crate::{Error, Kind, Result};

/// Life of an enrolment whose maker says nothing of it.
const DEFAULT_LIFE: &str = "1h";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    name: String,
    #[serde(default)]
    ttl: Option<String>,
    #[serde(default)]
    stream: Option<i64>,
}

#[derive(Serialize)]
struct Made<'m> {
    token: &'m str,
    /// Where the device sends its signing request; null where `--public-url` is not set.
    url: Option<String>,
    /// SHA-256 of the root certificate that the device is to trust.
    ca_sha256: String,
    #[serde(flatten)]
    about: Enrolment,
}

#[derive(Serialize)]
pub(super) struct Listing {
    pub(super) enrolments: Vec<Enrolment>,
    next: Option<i64>,
}

/// `POST /api/v1/enrolments`
pub(super) async fn make(
    State(state): State<AppState>,
    caller: Caller,
    Json(wanted): Json<Wanted>,
) -> Result<Response> {
    let granted = caller.may(&state, Action::IssueCertificates, None).await?;
    let name =
        CertName::parse(&wanted.name).map_err(|e| Error::new(Kind::Invalid, e.to_string()))?;
    let life = life(wanted.ttl.as_deref(), DEFAULT_LIFE)?;
    let stream = match wanted.stream {
        None => None,
        Some(id) => {
            let stream = state.catalog.stream(StreamId(id))?;
            caller
                .may(&state, Action::BindStream, Some(&stream))
                .await?;
            Some(stream)
        }
    };
    let (about, token) = state
        .identity
        .enrol(granted, &name, life, stream.as_deref())
        .await?;
    let root = pki::describe_cert(state.identity.server_roots().as_bytes())
        .map_err(|e| Error::internal("the server root cannot be read", e))?;
    let segment = percent_encoding::utf8_percent_encode(name.as_str(), crate::names::IN_URL);
    let made = Made {
        token: &token,
        url: state
            .identity
            .public_url()
            .map(|url| format!("{url}/certs/{segment}/sign")),
        ca_sha256: root.fingerprint_sha256,
        about,
    };
    Ok(secret(
        (StatusCode::CREATED, axum::Json(made)).into_response(),
    ))
}

/// `GET /api/v1/enrolments`
pub(super) async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Query(page): Query<Page<i64>>,
) -> Result<Response> {
    Ok(axum::Json(read(&state, &caller, page).await?).into_response())
}

/// The body of that.
pub(super) async fn read(state: &AppState, caller: &Caller, page: Page<i64>) -> Result<Listing> {
    caller.may(state, Action::ReadIdentity, None).await?;
    let (after, limit) = (page.after.unwrap_or(0), page.limit()?);
    let enrolments = state
        .catalog
        .read(move |tables| tables.enrolments(after, limit + 1))
        .await?;
    let (enrolments, next) = paged(enrolments, limit, |enrolment| enrolment.id);
    Ok(Listing { enrolments, next })
}

/// `DELETE /api/v1/enrolments/{id}`
pub(super) async fn withdraw(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response> {
    let granted = caller.may(&state, Action::IssueCertificates, None).await?;
    let id = id
        .parse()
        .map_err(|_| Error::new(Kind::NotFound, format!("there is no enrolment {id:?}")))?;
    state.identity.withdraw_enrolment(granted, id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
