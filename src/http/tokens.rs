//! Bearer tokens: `/api/v1/tokens`.

use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::extract::{Caller, Json, Query};
use super::page::{Page, paged};
use super::state::{AppState, Policy};
use crate::access::Action;
use crate::catalog::{Role, Token};
use crate::config::Span;
use crate::{Error, Kind, Result};

/// Life of a token whose maker says nothing of it.
const DEFAULT_LIFE: &str = "90d";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    name: String,
    role: Role,
    #[serde(default)]
    ttl: Option<String>,
}

#[derive(Serialize)]
struct Made<'m> {
    token: &'m str,
    #[serde(flatten)]
    about: Token,
}

#[derive(Serialize)]
struct Rotated<'r> {
    token: &'r str,
    file: String,
}

#[derive(Serialize)]
struct Listing {
    tokens: Vec<Token>,
    next: Option<i64>,
}

/// `POST /api/v1/tokens`
pub(super) async fn make(
    State(state): State<AppState>,
    caller: Caller,
    Json(wanted): Json<Wanted>,
) -> Result<Response> {
    let granted = caller.may(&state, Action::ManageTokens, None).await?;
    let life = life(wanted.ttl.as_deref(), DEFAULT_LIFE)?;
    let (about, token) = state
        .identity
        .make_token(granted, wanted.name, wanted.role, life)
        .await?;
    let made = Made {
        token: &token,
        about,
    };
    Ok(secret(
        (StatusCode::CREATED, axum::Json(made)).into_response(),
    ))
}

/// `GET /api/v1/tokens`
pub(super) async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Query(page): Query<Page<i64>>,
) -> Result<Response> {
    caller.may(&state, Action::ReadIdentity, None).await?;
    let (after, limit) = (page.after.unwrap_or(0), page.limit()?);
    let tokens = state
        .catalog
        .read(move |tables| tables.tokens(after, limit + 1))
        .await?;
    let (tokens, next) = paged(tokens, limit, |token| token.id);
    Ok(axum::Json(Listing { tokens, next }).into_response())
}

/// `DELETE /api/v1/tokens/{id}`
pub(super) async fn remove(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response> {
    let granted = caller.may(&state, Action::ManageTokens, None).await?;
    let id = id
        .parse()
        .map_err(|_| Error::new(Kind::NotFound, format!("there is no token {id:?}")))?;
    state.identity.remove_token(granted, id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /api/v1/tokens/rotate`
pub(super) async fn rotate(State(state): State<AppState>, caller: Caller) -> Result<Response> {
    let granted = caller.may(&state, Action::ManageTokens, None).await?;
    let take = |token: &str| {
        state.policy.rcu(|policy| Policy {
            admin_token: token.to_owned(),
            ..Policy::clone(policy)
        });
    };
    let token = state.identity.rotate_admin_token(granted, take).await?;
    let rotated = Rotated {
        token: &token,
        file: state.workdir.token_file().display().to_string(),
    };
    Ok(secret(axum::Json(rotated).into_response()))
}

/// A `ttl` as `1h` or `30d`.
pub(super) fn life(given: Option<&str>, default: &str) -> Result<std::time::Duration> {
    let Span(life) = given
        .unwrap_or(default)
        .parse()
        .map_err(|e| Error::new(Kind::Invalid, format!("\"ttl\": {e}")))?;
    Ok(life)
}

/// An answer that nobody on the way may keep.
pub(super) fn secret(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
