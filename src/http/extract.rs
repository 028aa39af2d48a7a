//! Typed values out of requests.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use http_body_util::BodyExt;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq;

use super::state::AppState;
use super::throttle::HELD_UP;
use crate::access::{self, Action, Granted, Principal};
use crate::catalog::{Audit, By, Role, Stream};
use crate::identity::Bearer;
use crate::names::ObjectPath;
use crate::tls::{Connection, Peer};
use crate::{Error, Kind, Result};

/// Largest body of a JSON route.
const MAX_JSON: usize = 256 * 1024;

/// Header fields that a proxy adds, besides all that begin with [`FORWARDED`]: the request does not come
/// straight from its sender.
const PROXIED: [&str; 3] = ["forwarded", "via", "x-real-ip"];
/// `X-Forwarded-For`, `-Host`, `-Ssl`, `-User`: every proxy has its own.
const FORWARDED: &str = "x-forwarded";

/// Who sent the request, and over which connection.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) principal: Principal,
    /// The enrolment whose token it bears.
    pub(super) enrolment: Option<i64>,
    pub(super) connection: Connection,
}

impl Caller {
    /// Asks [`access::may`].
    pub(super) async fn may(
        &self,
        state: &AppState,
        action: Action,
        stream: Option<&Stream>,
    ) -> Result<Granted> {
        let mode = state.policy.load().access;
        access::may(
            &state.catalog,
            mode,
            &self.principal,
            self.address(),
            action,
            stream,
        )
        .await
    }

    /// Asks the same for the stream that the path names. Where there is none, only a caller that could
    /// be allowed it in some stream is told so.
    pub(super) async fn may_in(
        &self,
        state: &AppState,
        action: Action,
        stream: InStream,
    ) -> Result<Arc<Stream>> {
        match stream.0 {
            Ok(stream) => {
                self.may(state, action, Some(&stream)).await?;
                Ok(stream)
            }
            Err(unknown) => {
                let mode = state.policy.load().access;
                access::may_in_some_stream(mode, &self.principal, action)?;
                Err(unknown)
            }
        }
    }

    /// Who it is, for log lines.
    pub(super) fn describe(&self) -> String {
        format!("{} at {}", self.principal.describe(), self.address())
    }

    /// Who it is, for the record of a change.
    pub(super) fn by(&self) -> By {
        By {
            who: self.principal.describe(),
            from: self.address().to_string(),
        }
    }

    /// Records a change that the caller has made.
    pub(super) async fn note(
        &self,
        state: &AppState,
        what: &'static str,
        subject: String,
        before: serde_json::Value,
    ) -> Result<()> {
        let audit = Audit {
            by: self.by(),
            what,
            subject,
            before,
            after: serde_json::Value::Null,
        };
        state
            .catalog
            .write(move |tables| tables.add_audit(&audit))
            .await
    }

    fn address(&self) -> IpAddr {
        self.connection.remote.ip().to_canonical()
    }
}

impl FromRequestParts<AppState> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self> {
        let connection = parts
            .extensions
            .get::<Connection>()
            .cloned()
            .ok_or_else(|| Error::new(Kind::Internal, "a request came without its connection"))?;
        // Also with a token: whoever holds a revoked key is not to be spoken to.
        if let Peer::Verified(cert) = &connection.peer
            && let Some(barred) = state.identity.barred(&cert.fingerprint)
        {
            return Err(Error::new(
                Kind::Forbidden,
                format!("this client certificate is refused: {}", barred.reason()),
            ));
        }
        let (principal, enrolment) = if let Some(token) = bearer(&parts.headers) {
            bearer_of(token, &connection, state).await?
        } else if let Some(known) = logged_in(&parts.headers, &connection, state).await {
            known
        } else if let Peer::Verified(cert) = &connection.peer {
            state.seen.note(cert, &connection, &parts.headers);
            (Principal::Device(cert.name.clone()), None)
        } else if is_loopback(&connection.remote, &parts.headers, &parts.uri, state) {
            (Principal::Loopback, None)
        } else {
            (Principal::Anyone, None)
        };
        Ok(Self {
            principal,
            enrolment,
            connection,
        })
    }
}

/// Whose the login is that the request's cookie stands for. One whose token is good no more ends here.
async fn logged_in(
    headers: &HeaderMap,
    connection: &Connection,
    state: &AppState,
) -> Option<(Principal, Option<i64>)> {
    let token = state.logins.token(headers)?;
    let known = bearer_of(&token, connection, state).await;
    if known.is_err() {
        state.logins.close(headers);
    }
    known.ok()
}

/// Whose the token is. Wrong ones are held up where their address has sent some lately.
pub(super) async fn bearer_of(
    token: &str,
    connection: &Connection,
    state: &AppState,
) -> Result<(Principal, Option<i64>)> {
    let is_admin = token
        .as_bytes()
        .ct_eq(state.policy.load().admin_token.as_bytes());
    if bool::from(is_admin) {
        return Ok((Principal::Admin(None), None));
    }
    match state.identity.bearer(token).await? {
        Some(Bearer::Token(Role::Admin, name)) => Ok((Principal::Admin(Some(name)), None)),
        Some(Bearer::Token(Role::Viewer, name)) => Ok((Principal::Viewer(name), None)),
        Some(Bearer::Enrolment(id, name)) => Ok((Principal::Enrolee(name), Some(id))),
        None => {
            if !state.throttle.note(connection.remote.ip(), Instant::now()) {
                return Err(Error::new(
                    Kind::Unidentified,
                    "the bearer token is neither the admin token nor another that this server has given",
                ));
            }
            tokio::time::sleep(HELD_UP).await;
            Err(Error::new(
                Kind::Throttled,
                "this address has sent too many wrong bearer tokens: a right one is taken at once",
            ))
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Somebody on this machine, and neither a proxy on it nor a browser that was led here by a name that
/// somebody else points at this machine.
fn is_loopback(remote: &SocketAddr, headers: &HeaderMap, uri: &Uri, state: &AppState) -> bool {
    remote.ip().to_canonical().is_loopback()
        && !headers.keys().any(|name| is_of_a_proxy(name.as_str()))
        && host(headers, uri).is_some_and(|host| is_own_name(host, state))
}

fn is_of_a_proxy(name: &str) -> bool {
    PROXIED.contains(&name) || name.starts_with(FORWARDED)
}

pub(super) fn host<'r>(headers: &'r HeaderMap, uri: &'r Uri) -> Option<&'r str> {
    uri.host().or_else(|| {
        let text = headers.get(header::HOST)?.to_str().ok()?;
        // The port is of no interest: ffmpeg scripts send whatever they were copied with.
        Some(match text.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => text,
        })
    })
}

fn is_own_name(host: &str, state: &AppState) -> bool {
    let bare = host.trim_matches(['[', ']']);
    bare.parse::<IpAddr>().is_ok()
        || bare.eq_ignore_ascii_case("localhost")
        || state.names.dns.iter().any(|name| {
            name.trim_end_matches('.')
                .eq_ignore_ascii_case(bare.trim_end_matches('.'))
        })
}

/// The path of a request as sent, without the leading slash, its segments still percent-encoded.
fn raw_path(uri: &Uri) -> &str {
    uri.path().trim_start_matches('/')
}

/// The stream that the path names, after `before`: `streams/` or `api/v1/streams/`.
fn stream_after<'u>(uri: &'u Uri, before: &str, state: &AppState) -> (InStream, &'u str) {
    let rest = raw_path(uri).strip_prefix(before).unwrap_or_default();
    let (id, path) = rest.split_once('/').unwrap_or((rest, ""));
    let stream = state.catalog.stream_called(id);
    (InStream(stream), path)
}

fn decoded(path: &str) -> Result<String> {
    percent_decode_str(path)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| {
            Error::new(
                Kind::Invalid,
                "the path is not UTF-8 after percent-decoding",
            )
        })
}

/// The stream of a path that begins with `/streams/{id}` or `/api/v1/streams/{id}`.
/// [`Caller::may_in`] opens it: whether there is such a stream is not for everybody to know.
pub(super) struct InStream(pub(super) Result<Arc<Stream>>);

impl FromRequestParts<AppState> for InStream {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self> {
        let before = ["api/v1/streams/", "ui/streams/", "streams/"]
            .into_iter()
            .find(|before| raw_path(&parts.uri).starts_with(before))
            .unwrap_or_default();
        Ok(stream_after(&parts.uri, before, state).0)
    }
}

/// The stream and the object's path of `/streams/{id}/{path}`, as text that is still to be checked.
pub(super) struct InObject {
    pub(super) stream: InStream,
    /// Percent-decoded.
    pub(super) path: String,
}

impl FromRequestParts<AppState> for InObject {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self> {
        let before = [
            "api/v1/streams/",
            "ui/streams/",
            "streams/probe/",
            "probe/",
            "streams/",
        ]
        .into_iter()
        .find(|before| raw_path(&parts.uri).starts_with(before))
        .unwrap_or_default();
        let (stream, path) = stream_after(&parts.uri, before, state);
        // `/api/v1/streams/{id}/boxes/{path}`
        let path = match before {
            "api/v1/streams/" => path.split_once('/').map_or("", |(_, path)| path),
            _ => path,
        };
        Ok(Self {
            stream,
            path: decoded(path)?,
        })
    }
}

impl InObject {
    pub(super) fn object_path(&self) -> Result<ObjectPath> {
        ObjectPath::parse(&self.path)
    }
}

/// Query parameters.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<AppState> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|e| Error::new(Kind::Shape, e.body_text()))
    }
}

/// A JSON body of the expected shape. Without a content type it is read as JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<AppState> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &AppState) -> Result<Self> {
        if !is_json(request.headers()) {
            return Err(Error::new(
                Kind::Unsupported,
                "send the body as application/json",
            ));
        }
        let bytes = read_small(request.into_body(), state).await?;
        let wrong = |e| {
            Error::new(
                Kind::Shape,
                format!("the body is not the expected JSON: {e}"),
            )
        };
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(wrong)?;
        if !value.is_object() {
            // serde would take a list for a structure.
            return Err(Error::new(
                Kind::Shape,
                "the body is not the expected JSON: send an object",
            ));
        }
        serde_json::from_value(value).map(Self).map_err(wrong)
    }
}

/// The fields of a form.
pub(super) async fn read_form<T: DeserializeOwned>(
    request: Request,
    state: &AppState,
) -> Result<T> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    if kind.is_none_or(|kind| {
        !kind
            .as_bytes()
            .starts_with(b"application/x-www-form-urlencoded")
    }) {
        return Err(Error::new(
            Kind::Unsupported,
            "send the form as application/x-www-form-urlencoded",
        ));
    }
    let wrong = || Error::new(Kind::Shape, "the form does not have the expected fields");
    let bytes = read_small(request.into_body(), state).await?;
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    // A form is written as a query is.
    let uri: Uri = format!("/?{text}").parse().map_err(|_| wrong())?;
    axum::extract::Query::<T>::try_from_uri(&uri)
        .map(|axum::extract::Query(fields)| fields)
        .map_err(|_| wrong())
}

/// A signing request: `{"csr": PEM}`, or the PEM itself where the content type says so.
pub(super) struct SigningRequest(pub(super) String);

/// Content types of a signing request that is sent as it is.
const PEM_TYPES: [&str; 3] = [
    "application/x-pem-file",
    "application/pem-certificate-chain",
    "application/pkcs10",
];

#[derive(serde::Deserialize)]
struct InJson {
    csr: String,
}

impl FromRequest<AppState> for SigningRequest {
    type Rejection = Error;

    async fn from_request(request: Request, state: &AppState) -> Result<Self> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let is_pem = kind.is_some_and(|kind| {
            PEM_TYPES
                .iter()
                .any(|pem| kind.as_bytes().eq_ignore_ascii_case(pem.as_bytes()))
        });
        if !is_pem {
            let Json(InJson { csr }) = Json::from_request(request, state).await?;
            return Ok(Self(csr));
        }
        let bytes = read_small(request.into_body(), state).await?;
        String::from_utf8(bytes).map(Self).map_err(|_| {
            Error::new(
                Kind::Invalid,
                "the signing request is not text: send it as PEM",
            )
        })
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let Ok(kind) = kind.to_str() else {
        return false;
    };
    let essence = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence.is_empty()
        || essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

async fn read_small(body: Body, state: &AppState) -> Result<Vec<u8>> {
    let mut body = http_body_util::Limited::new(body, MAX_JSON);
    let mut bytes = Vec::new();
    while !body.is_end_stream() {
        let Ok(frame) = tokio::time::timeout(state.body_timeout, body.frame()).await else {
            return Err(Error::new(
                Kind::TimedOut,
                "the body did not come to its end",
            ));
        };
        match frame {
            None => break,
            Some(Ok(frame)) => bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |b| b)),
            Some(Err(e)) if e.is::<http_body_util::LengthLimitError>() => {
                return Err(Error::new(
                    Kind::TooLarge,
                    "the body is larger than 256 KiB",
                ));
            }
            Some(Err(e)) => {
                return Err(Error::new(Kind::Disconnected, "the body ended early").because(e));
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proxies() {
        for name in [
            "forwarded",
            "via",
            "x-real-ip",
            "x-forwarded",
            "x-forwarded-ssl",
        ] {
            assert!(is_of_a_proxy(name), "{name}");
        }
        for name in ["x-request-id", "forward", "viaduct", "host"] {
            assert!(!is_of_a_proxy(name), "{name}");
        }
    }
}
