//! Certificates: `/certs`.

use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::extract::{Caller, Query, SigningRequest};
use super::state::AppState;
use crate::access::{Action, Principal};
use crate::catalog::{CertificateRow, Which};
use crate::identity::{DeviceCertificate, IfHeld, Leave};
use crate::pki::{self, CertDescription, CertName, KeyDescription};
use crate::tls::Peer;
use crate::workdir::Hierarchy;
use crate::{Error, Kind, Result};

#[derive(Serialize)]
struct Listing {
    server: Vec<String>,
    device: Vec<String>,
}

/// A certificate or the public half of a key.
#[derive(Serialize)]
struct Details {
    r#type: &'static str,
    key: Option<KeyDescription>,
    cert: Option<CertDescription>,
}

#[derive(Deserialize)]
pub(super) struct Making {
    #[serde(default)]
    r#override: Option<String>,
    #[serde(default)]
    include_key: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Download {
    format: Option<String>,
}

/// The certificates that a request has revoked.
#[derive(Serialize)]
struct RevokedView<'r> {
    revoked: Vec<RevokedOne<'r>>,
}

#[derive(Serialize)]
struct RevokedOne<'r> {
    name: &'r str,
    serial: &'r str,
    fingerprint: &'r str,
}

impl<'r> RevokedView<'r> {
    fn of(rows: &'r [CertificateRow]) -> Self {
        let one = |row: &'r CertificateRow| RevokedOne {
            name: &row.name,
            serial: &row.serial,
            fingerprint: &row.fingerprint,
        };
        Self {
            revoked: rows.iter().map(one).collect(),
        }
    }
}

/// What was issued: `key` and `cert` are paths on the server, as the Matter project's test server
/// gives them; the rest is ours.
#[derive(Serialize)]
struct IssuedView<'i> {
    key: Option<String>,
    cert: String,
    created: bool,
    certificate: String,
    /// The root that the device must trust to verify this server.
    ca: &'i str,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key: Option<String>,
}

/// `GET /certs`
pub(super) async fn list(State(state): State<AppState>, caller: Caller) -> Result<Response> {
    caller.may(&state, Action::ReadCertificates, None).await?;
    let listing = Listing {
        server: state.identity.list(Hierarchy::Server)?,
        device: state.identity.list(Hierarchy::Device)?,
    };
    Ok(axum::Json(listing).into_response())
}

/// `GET /certs/{hierarchy}/{name}`
pub(super) async fn show(
    State(state): State<AppState>,
    caller: Caller,
    Path((hierarchy, name)): Path<(String, String)>,
    Query(download): Query<Download>,
) -> Result<Response> {
    // A device must be able to learn whom to trust before it has anything else.
    if (hierarchy.as_str(), name.as_str()) != ("server", "root.pem") {
        caller.may(&state, Action::ReadCertificates, None).await?;
    }
    let hierarchy = match hierarchy.as_str() {
        "server" => Hierarchy::Server,
        "device" => Hierarchy::Device,
        other => {
            return Err(Error::new(
                Kind::NotFound,
                format!("there are no {other:?} certificates: use \"server\" or \"device\""),
            ));
        }
    };
    let text = state.identity.read(hierarchy, &name)?;
    if name.ends_with(".key") {
        let key = pki::describe_key(&text).map_err(unreadable)?;
        return Ok(axum::Json(Details {
            r#type: "key",
            key: Some(key),
            cert: None,
        })
        .into_response());
    }
    match download.format.as_deref() {
        None => {
            let cert = pki::describe_cert(text.as_bytes()).map_err(unreadable)?;
            Ok(axum::Json(Details {
                r#type: "cert",
                key: None,
                cert: Some(cert),
            })
            .into_response())
        }
        Some("pem") => {
            let cert = pki::describe_cert(text.as_bytes()).map_err(unreadable)?;
            Ok(attachment(
                cert.public_cert.into_bytes(),
                "application/x-pem-file",
                &name,
            ))
        }
        Some("der") => {
            let der = pki::cert_der(text.as_bytes()).map_err(unreadable)?;
            Ok(attachment(
                der,
                "application/pkix-cert",
                &name.replace(".pem", ".der"),
            ))
        }
        Some(other) => Err(Error::new(
            Kind::Shape,
            format!("format {other:?} is not known: use \"pem\" or \"der\""),
        )),
    }
}

/// `POST /certs/{name}/keypair`
pub(super) async fn make_keypair(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
    Query(making): Query<Making>,
) -> Result<Response> {
    let granted = caller.may(&state, Action::IssueCertificates, None).await?;
    let name = cert_name(&name)?;
    let replace = boolean("override", making.r#override.as_deref(), true)?;
    let include_key = boolean("include_key", making.include_key.as_deref(), false)?;
    if include_key {
        caller.may(&state, Action::TakeKey, None).await?;
    }
    let if_held = match replace {
        true => IfHeld::Replace,
        false => IfHeld::Keep,
    };
    let made = state.identity.make_device(granted, &name, if_held).await?;
    Ok(issued(&state, made, include_key))
}

/// `POST /certs/{name}/sign`
pub(super) async fn sign(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
    Query(making): Query<Making>,
    SigningRequest(csr): SigningRequest,
) -> Result<Response> {
    let is_own = match &caller.principal {
        Principal::Device(own) | Principal::Enrolee(own) => *own == name,
        _ => false,
    };
    let action = match is_own {
        true => Action::SignOwn,
        false => Action::IssueCertificates,
    };
    let granted = caller.may(&state, action, None).await?;
    let name = cert_name(&name)?;
    let given = making.r#override.as_deref();
    let if_held = match caller.enrolment {
        // Who was given leave to enrol once is not to push a device out by mistake.
        Some(_) if !boolean("override", given, false)? => IfHeld::Refuse,
        None if !boolean("override", given, true)? => IfHeld::Keep,
        _ => IfHeld::Replace,
    };
    let leave = match (&caller.principal, &caller.connection.peer) {
        (Principal::Enrolee(_), _) => caller.enrolment.map_or(Leave::Granted, Leave::Enrolment),
        (Principal::Device(_), Peer::Verified(cert)) => Leave::Certificate(&cert.fingerprint),
        _ => Leave::Granted,
    };
    let signed = DeviceCertificate {
        // A key that lies beside the held certificate is no answer to a device that has its own.
        key_path: None,
        ..state
            .identity
            .sign_device(granted, &name, &csr, if_held, leave)
            .await?
    };
    Ok(issued(&state, signed, false))
}

/// `DELETE /certs/{hierarchy}/{name}`
pub(super) async fn revoke(
    State(state): State<AppState>,
    caller: Caller,
    Path((hierarchy, name)): Path<(String, String)>,
) -> Result<Response> {
    let granted = caller.may(&state, Action::Revoke, None).await?;
    if hierarchy != "device" {
        return Err(Error::new(
            Kind::Invalid,
            "only device certificates can be revoked: DELETE /certs/device/{name}",
        ));
    }
    // What was shown a moment ago can be revoked, too.
    state.seen.write_down(&state.catalog).await?;
    let revoked = state.identity.revoke(granted, Which::Name(name)).await?;
    Ok(axum::Json(RevokedView::of(&revoked)).into_response())
}

/// `DELETE /api/v1/certificates/{serial}`
pub(super) async fn revoke_one(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response> {
    let granted = caller.may(&state, Action::Revoke, None).await?;
    let id = id.to_ascii_lowercase().replace(':', "");
    let id = id.strip_prefix("0x").unwrap_or(&id).to_owned();
    state.seen.write_down(&state.catalog).await?;
    let revoked = state.identity.revoke(granted, Which::One(id)).await?;
    Ok(axum::Json(RevokedView::of(&revoked)).into_response())
}

/// `GET /api/v1/crl.pem`
pub(super) async fn list_pem(State(state): State<AppState>) -> Result<Response> {
    let lists = state.identity.revocation_lists().await?;
    let pem: String = lists.iter().map(|der| pki::list_pem(der)).collect();
    Ok(attachment(
        pem.into_bytes(),
        "application/x-pem-file",
        "crl.pem",
    ))
}

/// `GET /api/v1/crl.der`
pub(super) async fn list_der(State(state): State<AppState>) -> Result<Response> {
    let der = state.identity.revocation_list().await?;
    Ok(attachment(der, "application/pkix-crl", "crl.der"))
}

fn issued(state: &AppState, made: DeviceCertificate, include_key: bool) -> Response {
    let root = state.identity.server_roots();
    let view = IssuedView {
        key: made.key_path,
        cert: made.cert_path,
        created: made.created,
        certificate: made.certificate,
        ca: &root,
        private_key: made.key_pem.filter(|_| include_key),
    };
    let mut response = axum::Json(view).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn cert_name(text: &str) -> Result<CertName> {
    CertName::parse(text).map_err(|e| Error::new(Kind::Invalid, e.to_string()))
}

/// The words for yes and no that clients of the Matter project's test server may send.
fn boolean(name: &str, given: Option<&str>, default: bool) -> Result<bool> {
    let Some(given) = given else {
        return Ok(default);
    };
    match given.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" | "t" | "y" => Ok(true),
        "false" | "0" | "no" | "off" | "f" | "n" => Ok(false),
        _ => Err(Error::new(
            Kind::Shape,
            format!("{name} must be true or false, not {given:?}"),
        )),
    }
}

fn attachment(bytes: Vec<u8>, media_type: &'static str, name: &str) -> Response {
    let mut response = (
        [(header::CONTENT_TYPE, HeaderValue::from_static(media_type))],
        bytes,
    )
        .into_response();
    // Names that a header cannot carry are left to the client.
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_. ".contains(&b));
    let shown = if plain {
        format!("attachment; filename=\"{name}\"")
    } else {
        "attachment".to_owned()
    };
    if let Ok(value) = HeaderValue::from_str(&shown) {
        response
            .headers_mut()
            .insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

fn unreadable(e: pki::Error) -> Error {
    Error::internal("a stored certificate cannot be read", e)
}
